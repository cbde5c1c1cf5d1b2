"""Trials in experiment trackers: TensorBoard for real, MLflow and W&B also against stand-ins."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.errors import OutOfRangeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from tests.tuning.report_searches import DEGENERATE, only, search
from tuning.report import LOGGERS
from tuning.report.loggers import identity, to_mlflow, to_wandb
from tuning.report.tensorboard import to_tensorboard
from tuning.trials import COMPLETED, FAILED, REFUSED, RUNNING, Trial
from zoo.errors import DataError, MisuseError, SeqZooError

FOUND = search(20)


def events(folder: Path) -> list[Event]:
    """Return what TensorBoard would read from the one file of a run."""
    (file,) = folder.glob("*tfevents*")
    reader = PyRecordReader_New(str(file))
    records = []
    while True:
        try:
            reader.GetNext()
        except OutOfRangeError:
            return [Event.FromString(record) for record in records]
        records.append(reader.record())


def values(folder: Path) -> dict[str, Any]:
    """Return the summaries of one run by tag; of a curve the last."""
    return {value.tag: value for event in events(folder) for value in event.summary.value}


class TestTensorBoard:
    """What `tensorboard --logdir` shows."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return to_tensorboard(FOUND, tmp_path)

    def test_every_trial_is_a_run_with_its_parameters(self, folder: Path):
        assert folder.name == "tensorboard"
        assert {each.name for each in folder.iterdir() if each.is_dir()} == {
            trial.id for trial in FOUND.trials
        }
        for trial in FOUND.trials:
            start = values(folder / trial.id)[metadata.SESSION_START_INFO_TAG]
            info = metadata.parse_session_start_info_plugin_data(start.metadata.plugin_data.content)
            given = {name: getattr(v, v.WhichOneof("kind")) for name, v in info.hparams.items()}
            assert given == trial.parameters and info.group_name == trial.id

    def test_score_curve_and_end(self, folder: Path):
        ends = {COMPLETED: api_pb2.STATUS_SUCCESS, FAILED: api_pb2.STATUS_FAILURE}
        ends[REFUSED] = api_pb2.STATUS_FAILURE
        for trial in FOUND.trials:
            run = values(folder / trial.id)
            assert ("score" in run) == (trial.status == COMPLETED)
            if trial.score is not None:
                score = tensor_util.make_ndarray(run["score"].tensor)
                assert score == pytest.approx(trial.score)
            assert (metadata.SESSION_END_INFO_TAG in run) == (trial.status != RUNNING)
            if trial.status != RUNNING:
                content = run[metadata.SESSION_END_INFO_TAG].metadata.plugin_data.content
                end = metadata.parse_session_end_info_plugin_data(content)
                assert end.status == ends[trial.status]
        written = [
            (event.step, float(tensor_util.make_ndarray(value.tensor)))
            for event in events(folder / "0000")
            for value in event.summary.value
            if value.tag == "validation accuracy"
        ]
        assert [step for step, _ in written] == list(range(1, 9))
        assert [value for _, value in written] == pytest.approx(FOUND.trials[0].curve)

    def test_the_columns_are_named_once(self, folder: Path):
        (experiment,) = values(folder).values()
        read = metadata.parse_experiment_plugin_data(experiment.metadata.plugin_data.content)
        infos = {info.name: info for info in read.hparam_infos}
        assert infos.keys() == {name for trial in FOUND.trials for name in trial.parameters}
        assert [v.string_value for v in infos["cell"].domain_discrete.values] == ["gru", "lstm"]
        rates = [trial.parameters["learning_rate"] for trial in FOUND.trials]
        interval = infos["learning_rate"].domain_interval
        assert (interval.min_value, interval.max_value) == (min(rates), max(rates))
        assert [info.name.tag for info in read.metric_infos] == [
            "score",
            "seconds",
            "overhead_seconds",
            "size",
            "latency_ms",
        ]

    def test_a_later_report_leaves_nothing_of_the_earlier_one(self, tmp_path: Path):
        to_tensorboard(search(8), tmp_path)
        folder = to_tensorboard(search(3), tmp_path)
        assert len(list(folder.iterdir())) == 4
        assert [each.name for each in tmp_path.iterdir()] == ["tensorboard"]

    @pytest.mark.parametrize("name", DEGENERATE)
    def test_any_search(self, name: str, tmp_path: Path):
        folder = to_tensorboard(DEGENERATE[name], tmp_path)
        assert events(folder)[0].file_version == "brain.Event:2"

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="tensorboard' cannot be written"):
            to_tensorboard(FOUND, tmp_path / "file")


class Store:
    """Stands in for MLflow: its client, its entities, its exception."""

    class MlflowException(Exception):
        """As theirs."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []
        self.fails = False
        self.entities = SimpleNamespace(
            Param=lambda key, value: (key, value), Metric=lambda *point: point
        )

    def MlflowClient(self) -> Store:
        return self

    def get_tracking_uri(self) -> str:
        return "there"

    def set_experiment(self, name: str) -> SimpleNamespace:
        if self.fails:
            raise self.MlflowException("no such host\nand a long story")
        self.name = name
        return SimpleNamespace(experiment_id="1")

    def search_runs(self, ids: list[str], query: str, max_results: int) -> list[SimpleNamespace]:
        wanted = query.partition("= ")[2].strip("'")
        assert ids == ["1"]
        return [run for run in self.runs if run.data.tags["search"] == wanted]

    def create_run(self, experiment: str, **given: Any) -> SimpleNamespace:
        info = SimpleNamespace(run_id=str(len(self.runs)), status="RUNNING", **given)
        data = SimpleNamespace(tags=given["tags"], params={}, metrics=[])
        self.runs.append(SimpleNamespace(info=info, data=data))
        return self.runs[-1]

    def delete_run(self, id: str) -> None:
        self.runs = [run for run in self.runs if run.info.run_id != id]

    def log_batch(self, id: str, params: Any = (), metrics: Any = ()) -> None:
        (run,) = [run for run in self.runs if run.info.run_id == id]
        run.data.params.update(params)
        assert len(metrics) <= 1000
        run.data.metrics += metrics

    def set_terminated(self, id: str, status: str, end_time: int) -> None:
        (run,) = [run for run in self.runs if run.info.run_id == id]
        run.info.status, run.info.end_time = status, end_time


class TestMlflow:
    """Every ended trial as a run of one experiment."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Store:
        store = Store()
        monkeypatch.setitem(sys.modules, "mlflow", store)
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        return store

    def test_parameters_measures_and_curve(self, store: Store, tmp_path: Path):
        said = to_mlflow(FOUND, tmp_path)
        assert said == "18 trials logged to the experiment 'seqzoo-speech' of MLflow at there"
        trial, run = FOUND.trials[0], store.runs[0]
        assert run.data.params == {name: str(value) for name, value in trial.parameters.items()}
        assert run.info.start_time == 1000 * trial.began and run.info.status == "FINISHED"
        assert run.data.tags["trial"] == "0000" and run.data.tags["status"] == COMPLETED
        metrics = [(name, value, step) for name, value, _, step in run.data.metrics]
        assert ("score", trial.score, 0) in metrics and (
            "size",
            float(trial.size or 0),
            0,
        ) in metrics
        assert [point for point in metrics if point[0] == "accuracy"] == [
            ("accuracy", value, epoch) for epoch, value in enumerate(trial.curve, 1)
        ]
        failed = [run for run in store.runs if run.data.tags["status"] != COMPLETED]
        assert failed and {run.info.status for run in failed} == {"FAILED"}
        assert all(run.data.tags["reason"] for run in failed)

    def test_only_what_is_new_is_logged_again(self, store: Store, tmp_path: Path):
        fewer = dataclasses.replace(FOUND, trials=FOUND.trials[:5])
        assert to_mlflow(fewer, tmp_path).startswith("5 trials")
        store.runs[4].info.status = "RUNNING"  # as if it had been cut off
        assert to_mlflow(FOUND, tmp_path).startswith("14 trials")
        assert len({run.data.tags["trial"] for run in store.runs}) == len(store.runs) == 18
        other = dataclasses.replace(FOUND, seed=1)
        assert to_mlflow(other, tmp_path).startswith("18 trials")

    def test_an_endless_curve_goes_in_parts(self, store: Store, tmp_path: Path):
        long = Trial("0000", COMPLETED, {}, 0.5, (0.5,) * 2500)
        to_mlflow(only(trials=(long,)), tmp_path)
        assert len(store.runs[0].data.metrics) > 2500

    def test_a_server_that_refuses_is_a_failure_in_a_line(self, store: Store, tmp_path: Path):
        store.fails = True
        with pytest.raises(SeqZooError, match="^MLflow: no such host$") as caught:
            to_mlflow(FOUND, tmp_path)
        assert caught.value.exit_code == 1

    @pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="mlflow is not installed")
    @pytest.mark.filterwarnings("ignore")
    def test_the_real_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        import mlflow

        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        assert to_mlflow(FOUND, tmp_path).startswith("18 trials")
        assert to_mlflow(FOUND, tmp_path).startswith("0 trials")
        client = mlflow.MlflowClient()
        (experiment,) = client.search_experiments(filter_string="name = 'seqzoo-speech'")
        runs = client.search_runs([experiment.experiment_id])
        (run,) = [run for run in runs if run.data.tags["trial"] == "0000"]
        assert len(runs) == 18 and run.info.status == "FINISHED"
        assert run.data.params["cell"] == "lstm"
        assert run.data.metrics["score"] == FOUND.trials[0].score
        curve = client.get_metric_history(run.info.run_id, "accuracy")
        assert [point.value for point in curve] == list(FOUND.trials[0].curve)


class Wandb:
    """Stands in for the package wandb."""

    class Error(Exception):
        """As theirs."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []
        self.most = 100

    def Settings(self, **given: Any) -> dict[str, Any]:
        return given

    def init(self, **given: Any) -> SimpleNamespace:
        if len(self.runs) == self.most:
            raise self.Error("no API key\nand a long story")
        run = SimpleNamespace(given=given, history=[], summary={}, code=None)
        run.log = lambda values, step: run.history.append((step, values))
        run.finish = lambda exit_code: setattr(run, "code", exit_code)
        self.runs.append(run)
        return run


class TestWandb:
    """Every ended trial as a run of one project."""

    @pytest.fixture
    def wandb(self, monkeypatch: pytest.MonkeyPatch) -> Wandb:
        wandb = Wandb()
        monkeypatch.setitem(sys.modules, "wandb", wandb)
        for name in ("WANDB_PROJECT", "WANDB_MODE"):
            monkeypatch.delenv(name, raising=False)
        return wandb

    def test_parameters_measures_and_curve(self, wandb: Wandb, tmp_path: Path):
        said = to_wandb(FOUND, tmp_path)
        assert said == "18 trials logged to the project 'seqzoo-speech' of Weights & Biases"
        trial, run = FOUND.trials[0], wandb.runs[0]
        assert run.given["config"] == trial.parameters and run.given["dir"] == str(tmp_path)
        assert run.given["id"] == f"{identity(FOUND)}-0000"
        assert run.summary["score"] == trial.score and run.summary["status"] == COMPLETED
        assert run.history == [
            (epoch, {"accuracy": value}) for epoch, value in enumerate(trial.curve, 1)
        ]
        ended = [trial for trial in FOUND.trials if trial.status != RUNNING]
        assert [run.code for run in wandb.runs] == [int(t.status != COMPLETED) for t in ended]

    def test_only_what_is_new_is_logged_again(
        self, wandb: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        wandb.most = 5
        with pytest.raises(SeqZooError, match="^Weights & Biases: no API key$"):
            to_wandb(FOUND, tmp_path)
        wandb.most = 100
        assert to_wandb(FOUND, tmp_path).startswith("13 trials")
        assert to_wandb(FOUND, tmp_path).startswith("0 trials")
        assert len({run.given["id"] for run in wandb.runs}) == len(wandb.runs) == 18
        monkeypatch.setenv("WANDB_PROJECT", "mine")
        assert "18 trials logged to the project 'mine'" in to_wandb(FOUND, tmp_path)

    @pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="wandb is not installed")
    @pytest.mark.filterwarnings("ignore")
    def test_the_real_one_offline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.delenv("WANDB_PROJECT", raising=False)
        assert to_wandb(search(5), tmp_path).startswith("5 trials")
        assert to_wandb(search(5), tmp_path).startswith("0 trials")
        files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
        assert len(files) == 5
        logged = json.loads((tmp_path / "wandb" / "logged.json").read_text())
        assert len(logged["seqzoo-speech, offline"]) == 5


class TestMissingPackages:
    """The trackers are an extra, and say so."""

    @pytest.mark.parametrize("name", LOGGERS)
    def test_a_line_names_the_extra(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MisuseError, match="pip install -r requirements-tracking.txt") as caught:
            LOGGERS[name](FOUND, tmp_path)
        assert name in str(caught.value) and "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
        assert not list(tmp_path.iterdir())
