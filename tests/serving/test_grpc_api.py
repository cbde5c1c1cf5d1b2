"""What the gRPC services answer, called with serialized messages as gRPC does it."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import errors
from serving.server import grpc_api, metrics
from serving.server.inference import CLASSIFY, REGRESS
from serving.server.lifecycle import Loaded
from serving.server.servable import Servable
from serving.values import ModelRef, VersionStatus
from tests.serving import judge
from tests.serving.judge import example


class OneModel:
    """A core that serves one loaded model, as version 7 of "judge"."""

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        self.configs: list[Any] = []

    def get(self, ref: ModelRef) -> Loaded:
        if not ref.name:
            raise errors.InvalidArgument("ModelSpec has no name specified.")
        if ref != ModelRef("judge"):
            raise errors.NotFound(f"Servable not found for request: Latest({ref.name})")
        return Loaded(7, self.servable)

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        return [
            VersionStatus(8, "END", "INTERNAL", "cannot load"),
            VersionStatus(7, "AVAILABLE"),
        ]

    def reload(self, config: Any) -> None:
        self.configs.append(config)


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    """The judge."""
    folder = tmp_path_factory.mktemp("judge") / "1"
    judge.save(folder)
    return Servable(folder)


@pytest.fixture
def core(servable: Servable) -> OneModel:
    """A core that serves the judge."""
    return OneModel(servable)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the metrics are told of answered calls: model, method, interface and error."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(metrics, "answered", lambda *call: told.append(call[:-1]))
    return told


def ask(core: Any, name: str, request: Any) -> Any:
    """Send a message through one of the methods and return the message that comes back."""
    service = "PredictionService" if name in PREDICTION else "ModelService"
    method = grpc_api.SERVICES[f"tensorflow.serving.{service}"][name]
    content = grpc_api.answer(core, name, method, request.SerializeToString())
    return method.response.FromString(content)


PREDICTION = grpc_api.SERVICES["tensorflow.serving.PredictionService"]


def with_examples(request: Any, *numbers: float) -> Any:
    """Return a request about the judge, with an Example for each number."""
    for number in numbers:
        request.input.example_list.examples.add().ParseFromString(example(x=number))
    return request


def spec(signature_name: str = "") -> dict[str, str]:
    """Return the fields of a ModelSpec of the judge."""
    return {"name": "judge", "signature_name": signature_name}


class TestExampleMethods:
    def test_classify_gives_classes_and_says_who_answered(self, core: OneModel):
        request = classification_pb2.ClassificationRequest(model_spec=spec())
        response = ask(core, "Classify", with_examples(request, 1.0, -2.0))
        assert [
            [(each.label, each.score) for each in row.classes]
            for row in response.result.classifications
        ] == [[("negative", 0), ("positive", 1)], [("negative", 1), ("positive", 0)]]
        assert response.model_spec.name == "judge" and response.model_spec.version.value == 7
        assert response.model_spec.signature_name == "serving_default"

    def test_regress_gives_values_and_says_who_answered(self, core: OneModel):
        request = regression_pb2.RegressionRequest(model_spec=spec("value"))
        response = ask(core, "Regress", with_examples(request, 1.0, -2.0))
        assert [each.value for each in response.result.regressions] == [2.0, -4.0]
        assert response.model_spec.signature_name == "value"

    def test_multi_inference_answers_task_by_task(self, core: OneModel):
        request = inference_pb2.MultiInferenceRequest()
        request.tasks.add(model_spec=spec("value"), method_name=REGRESS)
        request.tasks.add(model_spec=spec(), method_name=CLASSIFY)
        first, second = ask(core, "MultiInference", with_examples(request, 3.0)).results
        assert [each.value for each in first.regression_result.regressions] == [6.0]
        assert len(second.classification_result.classifications) == 1
        assert (first.model_spec.signature_name, first.model_spec.version.value) == ("value", 7)
        assert second.model_spec.signature_name == "serving_default"

    def test_multi_inference_without_tasks_names_no_model(self, core: OneModel):
        with pytest.raises(errors.InvalidArgument, match="ModelSpec has no name specified"):
            ask(core, "MultiInference", inference_pb2.MultiInferenceRequest())

    @pytest.mark.parametrize("name", ["Classify", "Regress", "Predict", "GetModelMetadata"])
    def test_a_request_without_a_model_is_refused(self, core: OneModel, name: str):
        with pytest.raises(errors.InvalidArgument, match="^Missing ModelSpec$"):
            ask(core, name, PREDICTION[name].request())


class TestModelService:
    def test_status_tells_of_every_version(self, core: OneModel):
        request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "judge"})
        failed, served = ask(core, "GetModelStatus", request).model_version_status
        assert (failed.version, failed.state, failed.status.error_code) == (8, 50, 13)
        assert failed.status.error_message == "cannot load"
        assert (served.version, served.state, served.status.error_code) == (7, 30, 0)

    def test_reload_hands_the_configuration_over_and_says_that_it_is_in_force(self, core: OneModel):
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(name="other", base_path="/models/other")
        response = ask(core, "HandleReloadConfigRequest", request)
        assert core.configs == [request.config]
        assert response.HasField("status") and response.status.error_code == 0

    def test_reload_refuses_what_is_no_list_of_models(self, core: OneModel):
        with pytest.raises(errors.InvalidArgument, match="Only ModelConfigList is currently"):
            ask(core, "HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest())
        assert core.configs == []


class TestPredict:
    def test_asks_for_the_filtered_outputs_alone(self, core: OneModel):
        request = predict_pb2.PredictRequest(model_spec=spec(), output_filter=["scores"])
        request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([example(x=1.0)]))
        response = ask(core, "Predict", request)
        assert [*response.outputs] == ["scores"]
        assert [*response.outputs["scores"].float_val] == [0.0, 1.0]

    def test_names_are_looked_at_before_the_tensors_of_a_request(self, core: OneModel):
        request = predict_pb2.PredictRequest(model_spec=spec())
        request.inputs["inputs"].dtype = 99
        with pytest.raises(errors.InvalidArgument, match="^tensor parsing error: inputs$"):
            ask(core, "Predict", request)
        request.inputs["more"].dtype = 99
        with pytest.raises(errors.InvalidArgument, match="^input size does not match signature"):
            ask(core, "Predict", request)


class TestEveryCall:
    def test_what_is_no_message_is_refused(self, core: OneModel):
        for name, method in PREDICTION.items():
            with pytest.raises(errors.InvalidArgument, match="not a message of type tensorflow"):
                grpc_api.answer(core, name, method, b"\xff\xff")

    def test_is_counted_where_the_reference_counts_it(
        self, core: OneModel, counted: list[tuple[Any, ...]]
    ):
        request = regression_pb2.RegressionRequest(model_spec=spec("value"))
        ask(core, "Regress", with_examples(request, 1.0))
        request.model_spec.name = "nobody"
        with pytest.raises(errors.NotFound) as caught:
            ask(core, "Regress", request)
        status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "judge"})
        ask(core, "GetModelStatus", status)
        assert counted == [
            ("judge", "Regress", "GRPC", None),
            ("nobody", "Regress", "GRPC", caught.value),
        ]

    def test_a_fault_of_the_server_is_told_to_the_log_and_not_to_the_client(
        self,
        core: OneModel,
        counted: list[tuple[Any, ...]],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr(core, "get", lambda ref: 1 / 0)
        request = predict_pb2.PredictRequest(model_spec=spec())
        with pytest.raises(errors.InternalFault, match="^internal error; see the server's log$"):
            ask(core, "Predict", request)
        assert "ZeroDivisionError" in caplog.text
        assert [type(error) for *_, error in counted] == [errors.InternalFault]
