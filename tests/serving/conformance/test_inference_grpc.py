"""PredictionService over gRPC: Classify, Regress and MultiInference."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from tests.serving.conformance.calls import refused, spec
from tests.serving.conformance.process import Server

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def examples(*numbers: float, shift: float | None = None) -> input_pb2.Input:
    """Return an Example per number, with the same context for all of them if there is a shift."""
    message = input_pb2.Input()
    if shift is None:
        rows = message.example_list.examples
    else:
        rows = message.example_list_with_context.examples
        context = message.example_list_with_context.context
        context.features.feature["shift"].float_list.value.append(shift)
    for number in numbers:
        rows.add().features.feature["x"].float_list.value.append(number)
    return message


def classify(server: Server, signature: str, rows: input_pb2.Input) -> Any:
    """Send rows to be classified."""
    about = spec("probe", signature)
    request = classification_pb2.ClassificationRequest(model_spec=about, input=rows)
    return server.predictor.Classify(request)


def regress(server: Server, signature: str, rows: input_pb2.Input) -> Any:
    """Send rows to be regressed."""
    about = spec("probe", signature)
    return server.predictor.Regress(regression_pb2.RegressionRequest(model_spec=about, input=rows))


def infer(server: Server, rows: input_pb2.Input, *tasks: tuple[str, str, str]) -> Any:
    """Send rows to several tasks: model, signature and method of each."""
    request = inference_pb2.MultiInferenceRequest(input=rows)
    for model, signature, method in tasks:
        request.tasks.add(model_spec=spec(model, signature), method_name=method)
    return server.predictor.MultiInference(request)


def classes(result: Any) -> list[list[tuple[str, float]]]:
    """Return labels and scores, row by row."""
    return [[(each.label, each.score) for each in row.classes] for row in result.classifications]


class TestClassify:
    def test_gives_labels_and_scores_and_says_who_answered(self, first: Server):
        response = classify(first, "classify", examples(1.0, -1.0))
        assert classes(response.result) == [
            [("negative", 0.0), ("positive", 1.0)],
            [("negative", 1.0), ("positive", 0.0)],
        ]
        assert response.model_spec == spec("probe", "classify", version=1)

    def test_scores_or_labels_may_be_missing(self, first: Server):
        assert classes(classify(first, "scores", examples(2.0)).result) == [[("", 3.0)]]
        assert classes(classify(first, "classes", examples(2.0)).result) == [
            [("negative", 0.0), ("positive", 0.0)]
        ]

    def test_the_context_belongs_to_every_row(self, first: Server):
        response = classify(first, "scores", examples(2.0, 4.0, shift=2.0))
        assert classes(response.result) == [[("", 4.0)], [("", 5.0)]]

    def test_a_signature_without_classes_is_refused(self, first: Server):
        with refused(INVALID, part="No classification inputs found in SignatureDef: "):
            classify(first, "float", examples(1.0))
        with refused(INVALID, part='to contain at least one of "classes" or "scores"'):
            classify(first, "regress", examples(1.0))
        with refused(INVALID, "Expected one input Tensor."):
            classify(first, "two", examples(1.0))

    def test_names_of_methods_are_looked_at_when_flagged(self, first: Server, second: Server):
        named = classify(second, "named_classify", examples(1.0))
        assert classes(named.result) == [[("negative", 0.0), ("positive", 1.0)]]
        with refused(
            INVALID,
            f"Expected classification signature method_name to be {CLASSIFY}. "
            "Was: tensorflow/serving/predict",
        ):
            classify(second, "classify", examples(1.0))


class TestRegress:
    def test_gives_a_value_per_row_and_says_who_answered(self, first: Server):
        response = regress(first, "regress", examples(2.0, 4.0))
        assert [each.value for each in response.result.regressions] == [3.0, 4.0]
        assert response.model_spec == spec("probe", "regress", version=1)

    def test_a_signature_without_values_is_refused(self, first: Server):
        with refused(INVALID, part="No regression outputs found in SignatureDef: "):
            regress(first, "scores", examples(1.0))
        with refused(INVALID, "Expected one output Tensor."):
            regress(first, "classify", examples(1.0))

    def test_names_of_methods_are_looked_at_when_flagged(self, second: Server):
        response = regress(second, "named_regress", examples(2.0))
        assert response.result.regressions[0].value == 3.0
        with refused(
            INVALID,
            f"Expected regression signature method_name to be {REGRESS}. "
            "Was: tensorflow/serving/predict",
        ):
            regress(second, "regress", examples(1.0))


class TestBoth:
    @pytest.mark.parametrize("method", [classify, regress])
    def test_refuse_nothing_at_all(self, first: Server, method: Any):
        name = method.__name__
        for rows in (input_pb2.Input(), examples()):
            with refused(INVALID, "Input is empty."):
                method(first, name, rows)

    @pytest.mark.parametrize("method", [classify, regress])
    def test_refuse_unknown_signatures(self, first: Server, method: Any):
        with refused(INVALID, "No signature was found with the name: nothing"):
            method(first, "nothing", examples(1.0))

    @pytest.mark.parametrize("method", [classify, regress])
    def test_refuse_rows_that_do_not_fit(self, first: Server, method: Any):
        rows = examples(1.0)
        rows.example_list.examples[0].features.feature["x"].int64_list.value.append(1)
        with refused(INVALID, part="Data types don't match"):
            method(first, method.__name__, rows)

    def test_refuse_unknown_models(self, first: Server):
        request = regression_pb2.RegressionRequest()
        with refused(INVALID, "Missing ModelSpec"):
            first.predictor.Regress(request)
        request.model_spec.name = "nobody"
        with refused(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(nobody)"):
            first.predictor.Regress(request)


class TestMultiInference:
    def test_answers_task_by_task(self, first: Server):
        response = infer(
            first, examples(2.0), ("probe", "regress", REGRESS), ("probe", "classify", CLASSIFY)
        )
        one, two = response.results
        assert [each.value for each in one.regression_result.regressions] == [3.0]
        assert classes(two.classification_result) == [[("negative", 0.0), ("positive", 1.0)]]
        assert one.model_spec == spec("probe", "regress", version=1)
        assert two.model_spec == spec("probe", "classify", version=1)

    def test_refuses_two_models(self, first: Server):
        with refused(
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ):
            tasks = ("probe", "regress", REGRESS), ("half", "regress", REGRESS)
            infer(first, examples(2.0), *tasks)

    def test_refuses_a_signature_twice(self, first: Server):
        with refused(INVALID, "Duplicate evaluation of signature: regress"):
            tasks = ("probe", "regress", REGRESS), ("probe", "regress", REGRESS)
            infer(first, examples(2.0), *tasks)

    def test_refuses_an_unknown_signature(self, first: Server):
        with refused(INVALID, "Requested signature not found in model graph: nothing"):
            infer(first, examples(2.0), ("probe", "nothing", REGRESS))

    def test_refuses_other_methods(self, first: Server):
        with refused(
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ):
            infer(first, examples(2.0), ("probe", "regress", "tensorflow/serving/predict"))

    def test_refuses_a_request_without_a_model(self, first: Server):
        with refused(INVALID, "ModelSpec has no name specified."):
            infer(first, examples(2.0))
        with refused(INVALID, "Found ModelSpec with an empty model name."):
            infer(first, examples(2.0), ("probe", "regress", REGRESS), ("", "regress", REGRESS))
