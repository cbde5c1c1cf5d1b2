"""One SavedModel in memory: loading it, asking it, letting go of it."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving import errors
from serving.server import metrics, servable
from serving.server.engine import BatchingParameters, EngineOptions
from serving.server.servable import Servable
from tests.serving import judge

HALF = {"x": np.float32([2, 4])}


@pytest.fixture(scope="module")
def toy(toy_base_path: Path) -> Servable:
    """The toy model, loaded once."""
    return Servable(toy_base_path / "1")


@pytest.fixture
def copied(toy_base_path: Path, tmp_path: Path) -> Path:
    """A copy of the toy model's version folder."""
    return Path(shutil.copytree(toy_base_path / "1", tmp_path / "1"))


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing that sits in a cycle is freed meanwhile."""
    gc.disable()
    yield
    gc.enable()


def rewrite(folder: Path, change: Any) -> None:
    """Change the SavedModel message of a folder."""
    file = folder / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(message.meta_graphs[0])
    file.write_bytes(message.SerializeToString())


def refused(folder: Path, options: EngineOptions | None = None) -> errors.ServingError:
    """Return why a folder does not load."""
    with pytest.raises(errors.ServingError) as caught:
        Servable(folder, options)
    return caught.value


class TestLoading:
    def test_variables_are_restored_and_tables_filled(self, toy: Servable, tmp_path: Path):
        assert toy.predict("half", HALF)["y"].tolist() == [3, 4]
        words = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(words, -1)
        look_up = tf.function(lambda text: {"number": module.table.lookup(text)})
        spec = tf.TensorSpec([None], tf.string, "text")
        tf.saved_model.save(module, str(tmp_path), look_up.get_concrete_function(spec))
        answer = Servable(tmp_path).predict("", {"text": np.array(["b", "c"])})
        assert answer["number"].tolist() == [2, -1]

    def test_a_model_of_the_first_tensorflow_is_served_too(self, tmp_path: Path):
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None])
            y = v1.get_variable("factor", initializer=3.0, use_resource=False) * x
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(tmp_path / "1"))
            definition = v1.saved_model.predict_signature_def({"x": x}, {"y": y, "same": y})
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": definition}
            )
            builder.save()
        for options in (None, EngineOptions(batching=BatchingParameters(max_batch_size=2))):
            answer = Servable(tmp_path / "1", options).predict("", HALF)
            assert {name: array.tolist() for name, array in answer.items()} == {
                "same": [6, 12],
                "y": [6, 12],
            }

    def test_what_has_a_default_may_be_left_out(self, copied: Path):
        def add(graph: Any) -> None:
            proto = tf.make_tensor_proto(np.float32([6]))
            graph.signature_def["half"].defaults["x"].CopyFrom(proto)

        rewrite(copied, add)
        model = Servable(copied)
        assert model.predict("half", {})["y"].tolist() == [5]
        assert model.predict("half", HALF)["y"].tolist() == [3, 4]

    def test_the_tags_choose_the_graph(self, copied: Path):
        rewrite(copied, lambda graph: graph.meta_info_def.tags.append("gpu"))
        both = EngineOptions(tags=("gpu", "serve"))
        assert Servable(copied, both).predict("half", HALF)["y"].tolist() == [3, 4]
        error = refused(copied)
        assert isinstance(error, errors.NotFound)
        assert str(error) == (
            "Could not find meta graph def matching supplied tags: { serve }. To inspect "
            "available tag-sets in the SavedModel, please use the SavedModel CLI: "
            "`saved_model_cli`"
        )

    def test_threads_are_taken_as_asked_for(self, toy_base_path: Path):
        options = EngineOptions(intra_op_threads=1, inter_op_threads=1)
        assert Servable(toy_base_path / "1", options).predict("half", HALF)["y"].tolist() == [3, 4]

    def test_a_folder_without_a_model_is_refused(self, tmp_path: Path):
        error = refused(tmp_path)
        assert isinstance(error, errors.NotFound)
        assert str(error) == (
            "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
            f"{tmp_path}. Check that the directory exists and that you have the right "
            "permissions for accessing it."
        )

    def test_a_file_that_is_not_a_model_is_refused(self, tmp_path: Path):
        file = tmp_path / "saved_model.pb"
        file.write_bytes(b"not a protobuf")
        error = refused(tmp_path)
        assert isinstance(error, errors.DataLoss)
        assert str(error) == f"Can't parse {file} as binary proto"

    def test_a_folder_that_is_still_being_copied_is_refused(self, copied: Path):
        for file in copied.glob("variables/variables.data*"):
            file.unlink()
        assert refused(copied)
        shutil.rmtree(copied / "variables")
        assert "cannot load" in str(refused(copied))

    def test_a_graph_with_an_operation_that_nobody_knows_is_refused(self, copied: Path):
        def spoil(graph: Any) -> None:
            graph.graph_def.node[0].op = "NoSuchOp"

        rewrite(copied, spoil)
        assert "NoSuchOp" in str(refused(copied))


class TestAsking:
    def test_outputs_that_are_not_wanted_are_not_computed(self, tmp_path: Path):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def halves(x: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.control_dependencies([tf.debugging.assert_positive(x, "not positive")]):
                checked = tf.identity(x)
            return {"checked": checked, "half": x / 2}

        tf.saved_model.save(tf.Module(), str(tmp_path), signatures=halves)
        model = Servable(tmp_path)
        with pytest.raises(errors.InvalidArgument, match="not positive"):
            model.predict("", {"x": np.float32([-1])}, ["checked"])

    def test_the_filter_chooses_the_outputs_and_their_order(self, toy: Servable):
        text = {"text": np.array(["abc"])}
        assert list(toy.predict("", text, ["status", "label"])) == ["status", "label"]
        assert list(toy.predict("", text)) == sorted(toy.signatures["serving_default"].outputs)

    def test_beyond_the_bound_all_outputs_are_computed(
        self, toy_base_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(servable, "STEPS", 1)
        model = Servable(toy_base_path / "1")
        text = {"text": np.array(["abc"])}
        for wanted in (["label"], ["status"], ["length", "status"]):
            assert list(model.predict("", text, wanted)) == wanted

    def test_scalars_stay_arrays(self, toy: Servable):
        answer = toy.predict("scale", {"x": np.ones((1, 2), np.float32), "factor": np.float32(3)})
        assert isinstance(answer["factor"], np.ndarray) and answer["factor"].shape == ()

    def test_a_scalar_of_text_stays_bytes(self, tmp_path: Path):
        spec = tf.TensorSpec([], tf.string, "text")
        echo = tf.function(lambda text: {"echo": tf.identity(text)}).get_concrete_function(spec)
        tf.saved_model.save(tf.Module(), str(tmp_path), echo)
        text = np.array("é\0", object)
        answer = Servable(tmp_path).predict("", {"text": text})["echo"]
        assert answer.dtype == object and answer[()] == "é\0".encode()

    def test_arrays_of_any_layout_are_read_rightly(self, toy: Servable):
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        for view in (x[:, ::3], x.T[:2].T, x[::-1, 1:3], x[:, :2].astype(">f4")):
            answer = toy.predict("scale", {"x": view, "factor": np.float32(1)})
            assert np.array_equal(answer["product"], view)

    def test_the_graphs_refusal_says_what_but_not_where(self, toy: Servable):
        with pytest.raises(errors.InvalidArgument) as caught:
            toy.predict("pick", {"index": np.int32([7])})
        assert str(caught.value) == "indices[0] = 7 is not in [0, 3)"

    def test_a_refusal_that_quotes_bytes_which_are_not_text_stays_one(self, tmp_path: Path):
        spec = tf.TensorSpec([None], tf.string, "text")
        read = tf.function(lambda text: {"x": tf.strings.to_number(text)})
        tf.saved_model.save(tf.Module(), str(tmp_path), read.get_concrete_function(spec))
        with pytest.raises(errors.InvalidArgument) as caught:
            Servable(tmp_path).predict("", {"text": np.array([b"\xff"], object)})
        assert str(caught.value) == "StringToNumberOp could not correctly convert string: \ufffd"

    def test_method_names_are_looked_at_only_where_that_is_asked_for(self, copied: Path):
        def rename(graph: Any) -> None:
            graph.signature_def["half"].method_name = "mine"

        rewrite(copied, rename)
        assert Servable(copied).predict("half", HALF)
        strict = Servable(copied, EngineOptions(check_method_names=True))
        assert strict.predict("pick", {"index": np.int32([0])})
        with pytest.raises(errors.InternalFault) as caught:
            strict.predict("half", {})
        assert str(caught.value) == (
            "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
            "tensorflow/serving/classify, tensorflow/serving/regress}. Was: mine"
        )

    def test_classify_and_regress_signatures_can_be_predicted(self, tmp_path: Path):
        judge.save(tmp_path)
        strict = Servable(tmp_path, EngineOptions(check_method_names=True))
        examples = {"inputs": np.array([judge.example(x=2.0)], object)}
        assert strict.predict("named_regress", examples)["outputs"].tolist() == [4]

    def test_the_metrics_are_told_how_long_the_graph_ran(
        self, toy_base_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        told: list[tuple[Any, ...]] = []
        monkeypatch.setattr(metrics, "ran", lambda *values: told.append(values))
        model = Servable(toy_base_path / "1", name="toy")
        model.predict("half", HALF)
        model.predict("half", HALF, api="Classify")
        with pytest.raises(errors.InvalidArgument):
            model.predict("pick", {"index": np.int32([7])})
        assert [values[:3] for values in told] == [
            ("toy", "Predict", "TF1"),
            ("toy", "Classify", "TF1"),
        ]
        assert all(values[3] > 0 for values in told)


class TestMemory:
    @pytest.mark.parametrize("batching", [None, BatchingParameters(max_batch_size=8)])
    def test_the_session_ends_with_the_last_reference(
        self, toy_base_path: Path, uncollected: None, batching: BatchingParameters | None
    ):
        model = Servable(toy_base_path / "1", EngineOptions(batching=batching))
        assert model.predict("half", HALF)["y"].tolist() == [3, 4]
        session = weakref.ref(model._graph._session)
        assert session() is not None
        del model
        assert session() is None

    def test_a_running_call_keeps_the_model(self, toy_base_path: Path, uncollected: None):
        model = Servable(toy_base_path / "1")
        session = weakref.ref(model._graph._session)
        answers: list[dict[str, np.ndarray]] = []

        def spin(model: Servable) -> None:
            answers.append(model.predict("spin", {"rounds": np.int32(200_000)}))

        thread = threading.Thread(target=spin, args=(model,))
        thread.start()
        del model
        thread.join()
        assert answers[0]["rounds"] == 200_000
        del thread
        assert session() is None
