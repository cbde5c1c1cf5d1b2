"""Pipeline: one object that answers raw requests and survives being copied elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from zoo.decoding import LabelDecoder
from zoo.errors import DataError, PortError
from zoo.pipeline import FOLDER, MODEL_FILE, Pipeline

TEXTS = [
    "The film is splendid.",
    "",
    b"\xff",
    "\ud800",
    "dull",
    "The plot of number 4 " * 9,
    "שלום 😀",
]
DESCRIPTION = Path(FOLDER, "pipeline.json")


@pytest.fixture
def saved(pipeline: Pipeline, tmp_path: Path) -> Path:
    """A run folder that holds `pipeline`."""
    pipeline.save(tmp_path)
    return tmp_path


def test_an_answer_has_exactly_the_declared_outputs(pipeline: Pipeline):
    answer = pipeline.predict({"text": TEXTS})
    assert list(answer) == list(pipeline.outputs)
    pipeline.outputs.check(answer)


def test_bad_rows_are_answered_beside_good_ones(pipeline: Pipeline):
    status = pipeline.predict({"text": TEXTS})["status"].tolist()
    empty, invalid = b"text is empty", b"text is not valid UTF-8"
    assert status == [b"", empty, invalid, invalid, b"", b"", b""]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_an_answer_does_not_depend_on_the_batch(pipeline: Pipeline, batch_size: int):
    together = pipeline.predict({"text": TEXTS}, batch_size)
    for row, text in enumerate(TEXTS):
        alone = pipeline.predict({"text": [text]})
        assert alone["label"][0] == together["label"][row]
        np.testing.assert_allclose(
            alone["probabilities"][0], together["probabilities"][row], atol=1e-6
        )


def test_calling_and_predicting_agree(pipeline: Pipeline):
    called = pipeline(pipeline.inputs.check({"text": TEXTS}))
    predicted = pipeline.predict({"text": TEXTS})
    np.testing.assert_array_equal(called["label"].numpy(), predicted["label"])
    np.testing.assert_allclose(called["probabilities"], predicted["probabilities"], atol=1e-6)


def test_no_rows_give_no_answers(pipeline: Pipeline):
    answer = pipeline.predict({"text": []})
    assert {name: value.shape for name, value in answer.items()} == {
        "label": (0,),
        "probabilities": (0, 2),
        "status": (0,),
    }


def test_rows_that_do_not_fit_are_refused(pipeline: Pipeline):
    with pytest.raises(PortError, match="unknown input 'txt'; did you mean 'text'"):
        pipeline.predict({"txt": TEXTS})


def test_a_part_that_is_replaced_counts_at_once(pipeline: Pipeline):
    before = pipeline.predict({"text": TEXTS})
    pipeline.finish = LabelDecoder(["no", "yes"], temperature=9.0)
    after = pipeline.predict({"text": TEXTS})
    assert set(after["label"]) <= {b"no", b"yes", b""}
    assert np.ptp(after["probabilities"][0]) < np.ptp(before["probabilities"][0])


def test_the_endpoint_is_the_pipeline_itself(pipeline: Pipeline):
    (name, endpoint), *others = pipeline.endpoints().items()
    assert (name, others) == ("serving_default", [])
    assert endpoint.call is pipeline
    assert dict(endpoint.inputs) == dict(pipeline.inputs)
    assert dict(endpoint.outputs) == dict(pipeline.outputs)


def test_a_copy_answers_as_the_original_that_is_gone(
    pipeline: Pipeline, saved: Path, tmp_path_factory: pytest.TempPathFactory
):
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(saved, copy)
    shutil.rmtree(saved)
    rebuilt = Pipeline.load(copy)
    expected, received = (each.predict({"text": TEXTS}) for each in (pipeline, rebuilt))
    assert received["label"].tolist() == expected["label"].tolist()
    assert received["status"].tolist() == expected["status"].tolist()
    np.testing.assert_allclose(received["probabilities"], expected["probabilities"], atol=1e-6)
    assert rebuilt.finish.get_config() == pipeline.finish.get_config()
    assert rebuilt.samples["text"].tolist() == pipeline.samples["text"].tolist()


def test_the_folder_states_its_ports(pipeline: Pipeline, saved: Path):
    description = json.loads((saved / DESCRIPTION).read_text(encoding="utf-8"))
    assert list(description["inputs"]) == ["text"]
    assert description["outputs"]["label"]["meaning"] == "the most probable of bad, good"


def test_a_pipeline_without_samples_has_a_neutral_one(pipeline: Pipeline):
    bare = Pipeline(pipeline.prepare, pipeline.model, pipeline.finish)
    assert bare.samples["text"].tolist() == [b""]


def test_samples_that_do_not_fit_are_refused(pipeline: Pipeline):
    with pytest.raises(PortError, match="holds int"):
        Pipeline(pipeline.prepare, pipeline.model, pipeline.finish, {"text": [1]})


@pytest.mark.parametrize("missing", [Path(MODEL_FILE), DESCRIPTION], ids=str)
def test_an_unfinished_folder_is_refused(saved: Path, missing: Path):
    (saved / missing).unlink()
    with pytest.raises(DataError, match=f"no trained pipeline: {missing.name} is missing"):
        Pipeline.load(saved)


def test_saving_that_stops_halfway_leaves_an_unfinished_folder(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(self: object, path: Path) -> None:
        Path(path).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(type(pipeline.model), "save", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.save(tmp_path)
    with pytest.raises(DataError, match=r"pipeline\.json is missing"):
        Pipeline.load(tmp_path)


@pytest.mark.parametrize("part", ["prepare", "model", "finish"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os:system", "consists of classes of the package 'zoo', not 'os:system'"),
        ("zoology.text:Encoder", "consists of classes of the package 'zoo'"),
        ("recipes.sentiment:Config", "consists of classes of the package 'zoo'"),
        ("zoo.preprocessing.text:Encoder", "this version of zoo has no"),
        ("zoo.smells:Encoder", "this version of zoo has no 'zoo.smells:Encoder'"),
    ],
)
def test_a_folder_that_names_a_class_not_of_zoo_is_refused(
    saved: Path, part: str, path: str, message: str
):
    description = json.loads((saved / DESCRIPTION).read_text(encoding="utf-8"))
    description[part]["class"] = path
    (saved / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Pipeline.load(saved)
