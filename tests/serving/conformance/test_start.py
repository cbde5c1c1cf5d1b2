"""Starts as a peer would make them: by flags and files, waiting by asking."""

from __future__ import annotations

import ast
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.serving.conformance.calls import half, outputs_of, predict_request
from tests.serving.conformance.conftest import FIRST_FLAGS, model, write_config
from tests.serving.conformance.process import (
    Ended,
    Executable,
    Server,
    asks_in_vain,
    begin,
    end,
)


def test_these_tests_know_nothing_of_how_the_server_is_made():
    imported: set[str] = set()
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert not imported & {"serving", "zoo", "recipes", "tuning", "seqzoo"}


class TestGoodStart:
    def test_flags_are_taken_whether_they_have_a_meaning_or_not(self, first: Server):
        assert asks_in_vain(first.predictor)
        assert first.process.poll() is None

    @pytest.mark.usefixtures("beyond_reference")
    def test_flags_without_meaning_are_told_once(self, first: Server):
        for name in ("num_load_threads", "per_process_gpu_memory_fraction"):
            lines = [line for line in first.printed().splitlines() if name in line]
            assert len(lines) == 1

    def test_several_channel_arguments_are_taken(self, first: Server):
        assert FIRST_FLAGS["grpc_channel_arguments"].count(",") == 1
        assert half(first) == 4.0

    def test_one_model_is_given_by_name_and_base_path(self, second: Server):
        assert half(second, "probe") == 2.0

    @pytest.mark.usefixtures("beyond_reference")
    def test_names_and_values_of_flags_may_be_two_words(self, second: Server):
        assert "--model_name=probe" not in second.process.args
        assert half(second, "probe") == 2.0

    def test_a_unix_socket_replaces_the_file_of_a_dead_server(
        self, second: Server, socket_path: Path
    ):
        with grpc.insecure_channel(f"unix:{socket_path}") as channel:
            predictor = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = predictor.Predict(predict_request("probe", x=[2.0]), wait_for_ready=True)
        assert outputs_of(response)["y"] == [2.0]

    @pytest.mark.usefixtures("beyond_reference")
    def test_only_this_machine_is_listened_to(self, first: Server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing: chooses the address to send from
            except OSError:
                pytest.skip("this machine has no other address")
            address = probe.getsockname()[0]
        for port in (first.port, first.rest_port):
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=5)


def bad_starts(folder: Path, half_base: Path) -> dict[str, dict[str, Any]]:
    """Return the flags of servers that cannot start, by what is wrong; files go to a folder."""
    unparsable = folder / "unparsable.txt"
    unparsable.write_text("improperly formatted file")
    sizes = folder / "sizes.txt"
    sizes.write_text("max_batch_size { value: 4 } allowed_batch_sizes: [2, 3]")
    labelled = model("half", half_base)
    labelled.version_labels["stable"] = 3
    (folder / "bad" / "1").mkdir(parents=True)
    good = {"model_base_path": half_base, "max_num_load_retries": 0}
    threads = {f"tensorflow_{name}_parallelism": 1 for name in ("intra_op", "inter_op", "session")}
    return {
        "config": {"model_config_file": unparsable},
        "monitoring": good | {"monitoring_config_file": unparsable},
        "batching": good | {"enable_batching": True, "batching_parameters_file": unparsable},
        "tls": good | {"ssl_config_file": unparsable},
        "no model": {},
        "no batching": good | {"batching_parameters_file": sizes},
        "sizes": good | {"enable_batching": True, "batching_parameters_file": sizes},
        "label": {"model_config_file": write_config(folder / "labels.txt", labelled)},
        "bad model": good | {"model_base_path": folder / "bad"},
        "tags": good | {"saved_model_tags": "absent"},
        "threads": good | threads,
        "number": good | {"max_num_load_retries": "many"},
    }


@pytest.fixture(scope="module")
def ended(
    executable: Executable, half_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Ended]:
    """How servers that cannot start have ended. They are started all at once, to save time."""
    starts = bad_starts(tmp_path_factory.mktemp("ended"), half_base)
    with socket.create_server(("", 0)) as in_use:
        port = {"port": in_use.getsockname()[1], "rest_api_port": 0}
        starts["port"] = {"model_base_path": half_base} | port
        processes = {name: begin(executable, **flags) for name, flags in starts.items()}
        return {name: end(process) for name, process in processes.items()}


class TestBadStart:
    def test_a_config_file_that_cannot_be_parsed_ends_it(self, ended: dict[str, Ended]):
        assert ended["config"].code != 0
        text = "Error parsing text-format tensorflow.serving.ModelServerConfig"
        assert text in ended["config"].stderr

    @pytest.mark.parametrize("kind", ["monitoring", "batching", "tls"])
    def test_so_do_the_other_files(self, ended: dict[str, Ended], kind: str):
        name = {"monitoring": "MonitoringConfig", "batching": "BatchingParameters"}
        assert ended[kind].code != 0
        text = f"Error parsing text-format tensorflow.serving.{name.get(kind, 'SSLConfig')}"
        assert text in ended[kind].stderr

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("no model", "model_base_path"),
            ("no batching", "batching_parameters_file"),
            ("threads", "tensorflow_session_parallelism"),
            ("number", "max_num_load_retries"),
        ],
    )
    def test_flags_that_make_no_sense_end_it(self, ended: dict[str, Ended], kind: str, text: str):
        assert ended[kind].code != 0
        assert text in ended[kind].printed

    def test_batch_sizes_that_do_not_fit_end_it(self, ended: dict[str, Ended]):
        assert ended["sizes"].code != 0
        text = "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; "
        assert f"{text}expected 4" in ended["sizes"].printed

    def test_labels_of_models_that_are_not_loaded_yet_end_it(self, ended: dict[str, Ended]):
        assert ended["label"].code != 0
        text = "Request to assign label to version 3 of model half, which is not currently"
        assert text in ended["label"].printed

    def test_a_model_that_does_not_load_ends_it(self, ended: dict[str, Ended]):
        assert ended["bad model"].code != 0
        text = "1 servable(s) did not become available: {{{name: default version: 1} due to error:"
        assert text in ended["bad model"].printed

    def test_tags_that_the_model_lacks_end_it(self, ended: dict[str, Ended]):
        assert ended["tags"].code != 0
        text = "Could not find meta graph def matching supplied tags: { absent }"
        assert text in ended["tags"].printed

    def test_a_port_in_use_ends_it(self, ended: dict[str, Ended]):
        assert ended["port"].code != 0


class TestHelp:
    def test_the_version_is_told(self, executable: Executable):
        told = end(begin(executable, "--version", port=0))
        assert told.code == 0
        assert "ModelServer: " in told.stdout and "TensorFlow Library: " in told.stdout

    @pytest.mark.usefixtures("beyond_reference")
    def test_help_names_the_flags(self, executable: Executable):
        told = end(begin(executable, "--help", port=0))
        assert told.code == 0
        assert not [name for name in FIRST_FLAGS if f"--{name}" not in told.stdout]
