"""Classify, regress and multi-inference on Examples: answers, refusals and their messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow_serving.apis import input_pb2

from serving import errors
from serving.server import inference
from serving.server.engine import EngineOptions
from serving.server.inference import CLASSIFY, REGRESS, Task
from serving.server.servable import Servable
from tests.serving import judge
from tests.serving.judge import example

EXAMPLES = [example(x=1.0), example(x=-2.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of the judge."""
    folder = tmp_path_factory.mktemp("judge") / "1"
    judge.save(folder)
    return folder


@pytest.fixture(scope="module")
def servable(folder: Path) -> Servable:
    """The judge."""
    return Servable(folder)


@pytest.fixture(scope="module")
def strict(folder: Path) -> Servable:
    """The judge on a server that looks at method names."""
    return Servable(folder, EngineOptions(check_method_names=True))


def message(caught: pytest.ExceptionInfo[errors.ServingError]) -> str:
    """Return what a client is told, up to the first quotation of a signature."""
    return str(caught.value).partition("inputs {")[0].strip()


class TestClassify:
    def test_gives_label_and_score_of_each_class(self, servable: Servable):
        positive = [("negative", 0.0), ("positive", 1.0)]
        negative = [("negative", 1.0), ("positive", 0.0)]
        assert inference.classify(servable, "", EXAMPLES) == [positive, negative]

    def test_labels_alone_have_no_scores_and_scores_alone_no_labels(self, servable: Servable):
        assert inference.classify(servable, "classes", EXAMPLES[:1]) == [
            [("negative", 0.0), ("positive", 0.0)]
        ]
        assert inference.classify(servable, "scores", EXAMPLES[:1]) == [[("", 0.0), ("", 1.0)]]

    def test_a_label_that_is_not_text_is_still_sent(self, servable: Servable):
        assert inference.classify(servable, "bytes", EXAMPLES[:1]) == [[("\ufffd", 0.0)]]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("nothing", "No signature was found with the name: nothing"),
            ("two_inputs", "Expected one input Tensor."),
            ("three", "Expected one or two output Tensors, found 3"),
            ("other_input", "No classification inputs found in SignatureDef:"),
            (
                "neither",
                "Expected classification signature outputs to contain at least one of "
                '"classes" or "scores". Signature was:',
            ),
            ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
            ("double_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
            ("one_row", "Expected scores output batch size of 2. Got: 1"),
            ("uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
        ],
    )
    def test_refuses_a_signature_that_does_not_classify(
        self, servable: Servable, name: str, expected: str
    ):
        with pytest.raises(errors.InvalidArgument) as caught:
            inference.classify(servable, name, EXAMPLES)
        assert message(caught) == expected

    def test_refuses_no_examples_and_what_is_no_example(self, servable: Servable):
        with pytest.raises(errors.InvalidArgument, match=r"^Input is empty\.$"):
            inference.classify(servable, "", [])
        with pytest.raises(errors.InvalidArgument, match="Could not parse example input"):
            inference.classify(servable, "", [b"\xff\xff"])

    def test_refuses_another_method_where_names_are_looked_at(self, strict: Servable):
        assert len(inference.classify(strict, "named_classify", EXAMPLES)) == 2
        with pytest.raises(errors.InvalidArgument) as caught:
            inference.classify(strict, "named_regress", EXAMPLES)
        assert message(caught) == (
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/regress"
        )


class TestRegress:
    @pytest.mark.parametrize("name", ["value", "column"])
    def test_gives_one_value_for_each_example(self, servable: Servable, name: str):
        assert inference.regress(servable, name, EXAMPLES) == [2.0, -4.0]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("nothing", "No signature was found with the name: nothing"),
            ("two_inputs", "Expected one input Tensor."),
            ("uneven", "Expected one output Tensor."),
            ("other_regress", "No regression inputs found in SignatureDef:"),
            ("neither", "No regression outputs found in SignatureDef:"),
            (
                "matrix",
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but "
                "got [2,2]",
            ),
            ("sum", "Input batch size did not match output batch size: 2 vs. 1"),
            ("double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        ],
    )
    def test_refuses_a_signature_that_does_not_regress(
        self, servable: Servable, name: str, expected: str
    ):
        with pytest.raises(errors.InvalidArgument) as caught:
            inference.regress(servable, name, EXAMPLES)
        assert message(caught) == expected

    def test_refuses_another_method_where_names_are_looked_at(self, strict: Servable):
        assert inference.regress(strict, "named_regress", EXAMPLES) == [2.0, -4.0]
        with pytest.raises(errors.InvalidArgument) as caught:
            inference.regress(strict, "value", EXAMPLES)
        assert message(caught) == (
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict"
        )


class TestMultiInference:
    def test_gives_the_answer_of_each_task_on_the_same_examples(self, servable: Servable):
        tasks = [Task("judge", "value", REGRESS), Task("judge", "", CLASSIFY)]
        values, classes = inference.multi_inference(servable, tasks, EXAMPLES)
        assert values == [2.0, -4.0]
        assert classes == inference.classify(servable, "", EXAMPLES)

    @pytest.mark.parametrize(
        ("second", "error", "expected"),
        [
            (
                Task("", "value", REGRESS),
                errors.InvalidArgument,
                "Found ModelSpec with an empty model name.",
            ),
            (
                Task("other", "value", REGRESS),
                errors.InvalidArgument,
                "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            ),
            (
                Task("judge", "serving_default", CLASSIFY),
                errors.InvalidArgument,
                "Duplicate evaluation of signature: serving_default",
            ),
            (
                Task("judge", "nothing", CLASSIFY),
                errors.InvalidArgument,
                "Requested signature not found in model graph: nothing",
            ),
            (
                Task("judge", "value", "tensorflow/serving/predict"),
                errors.Unimplemented,
                "Unsupported signature method_name: tensorflow/serving/predict",
            ),
            (
                Task("judge", "uneven", REGRESS),
                errors.InvalidArgument,
                "Expected one output Tensor.",
            ),
            (
                Task("judge", "two_inputs", CLASSIFY),
                errors.InvalidArgument,
                "Expected one input Tensor.",
            ),
        ],
    )
    def test_refuses_tasks_that_do_not_go_together(
        self, servable: Servable, second: Task, error: type[errors.ServingError], expected: str
    ):
        with pytest.raises(error) as caught:
            inference.multi_inference(servable, [Task("judge", "", CLASSIFY), second], EXAMPLES)
        assert message(caught) == expected

    def test_refuses_no_examples_once_the_tasks_are_right(self, servable: Servable):
        with pytest.raises(errors.InvalidArgument, match=r"^Input is empty\.$"):
            inference.multi_inference(servable, [Task("judge", "", CLASSIFY)], [])


class TestExamplesOfARequest:
    def test_are_those_of_its_list(self):
        sent = input_pb2.Input()
        for each in EXAMPLES:
            sent.example_list.examples.add().ParseFromString(each)
        assert inference.examples_of(sent) == EXAMPLES

    def test_each_get_the_features_of_the_context(self, servable: Servable):
        sent = input_pb2.Input()
        for each in EXAMPLES:
            sent.example_list_with_context.examples.add().ParseFromString(each)
        sent.example_list_with_context.context.ParseFromString(example(shift=10.0))
        merged = inference.examples_of(sent)
        assert inference.regress(servable, "value", merged) == [22.0, 16.0]

    def test_are_none_without_a_list(self):
        assert inference.examples_of(input_pb2.Input()) == []
