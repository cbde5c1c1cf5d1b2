"""PredictionService over gRPC: Predict and GetModelMetadata."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from tests.serving.conformance.calls import (
    half,
    outputs_of,
    predict,
    predict_request,
    refused,
    spec,
)
from tests.serving.conformance.process import Server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def ask(server: Server, about: Any, **inputs: Any) -> predict_pb2.PredictResponse:
    """Send a request and return the answer."""
    return server.predictor.Predict(predict_request(about, **inputs))


class TestWhoAnswers:
    def test_the_newest_version_answers_and_says_so(self, first: Server):
        response = ask(first, "half", x=[2.0])
        assert response.model_spec == spec("half", "serving_default", version=3)
        assert outputs_of(response)["y"] == [4.0]

    def test_a_version_can_be_asked_for(self, first: Server):
        assert [half(first, spec("half", version=each)) for each in (1, 2, 3)] == [2, 3, 4]

    def test_a_label_can_be_asked_for(self, first: Server):
        response = ask(first, spec("half", label="canary"), x=[2.0])
        assert outputs_of(response)["y"] == [3.0]
        assert response.model_spec == spec("half", "serving_default", version=2)

    def test_several_models_are_served_at_once(self, first: Server):
        assert (half(first, "half"), half(first, "probe")) == (4.0, 2.0)

    def test_an_unknown_model_is_not_found(self, first: Server):
        with refused(NOT_FOUND, "Servable not found for request: Latest(nobody)"):
            half(first, "nobody")

    def test_an_unknown_version_is_not_found(self, first: Server):
        with refused(NOT_FOUND, "Servable not found for request: Specific(half, 99)"):
            half(first, spec("half", version=99))

    def test_a_label_of_a_version_that_is_not_there_is_not_found(self, first: Server):
        with refused(NOT_FOUND, "Servable not found for request: Specific(half, 9)"):
            half(first, spec("half", label="future"))

    def test_an_unknown_label_is_refused(self, first: Server):
        with refused(INVALID, "Unrecognized servable version label: nothing"):
            half(first, spec("half", label="nothing"))

    def test_a_request_without_a_model_is_refused(self, first: Server):
        with refused(INVALID, "Missing ModelSpec"):
            first.predictor.Predict(predict_pb2.PredictRequest())
        with refused(INVALID, "ModelSpec has no name specified."):
            half(first, spec("", version=1))

    def test_an_unknown_signature_fails_the_precondition(self, first: Server):
        with refused(
            grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "nothing" not found.'
        ):
            half(first, spec("half", "nothing"))

    def test_long_messages_are_cut(self, first: Server):
        name = "n" * 2000
        text = f"Servable not found for request: Latest({name})"
        with refused(NOT_FOUND, f"{text[:1024]}...TRUNCATED"):
            half(first, name)


class TestTensors:
    def test_types_come_back_as_they_were_sent(self, first: Server):
        sent = {
            "bool": np.array([True, False]),
            "double": np.array([0.1, -1e300]),
            "int32": np.array([-(2**31), 2**31 - 1], np.int32),
            "int64": np.array([-(2**63), 2**63 - 1], np.int64),
            "int8": np.array([-128, 127], np.int8),
            "uint8": np.array([0, 255], np.uint8),
            "uint32": np.array([0, 2**32 - 1], np.uint32),
            "uint64": np.array([0, 2**64 - 1], np.uint64),
        }
        got = predict(first, spec("probe", "echo"), **sent)
        assert {name: each.dtype for name, each in got.items()} == {
            name: each.dtype for name, each in sent.items()
        }
        for name, each in sent.items():
            np.testing.assert_array_equal(got[name], each)

    def test_values_may_come_as_numbers_or_as_bytes(self, first: Server):
        numbers = predict_pb2.PredictRequest().inputs["x"]
        numbers.dtype = tf.float32.as_datatype_enum
        numbers.float_val.append(5.0)
        numbers.tensor_shape.dim.add(size=3)  # one value stands for all
        packed = tf.make_tensor_proto(np.array([5.0, 5.0, 5.0], np.float32))
        assert packed.tensor_content
        for each in (numbers, packed):
            assert [*predict(first, spec("probe", "float"), x=each)["x"]] == [5.0] * 3

    def test_answers_hold_numbers_not_bytes(self, first: Server):
        response = ask(first, "half", x=[2.0, 4.0])
        assert [*response.outputs["y"].float_val] == [4.0, 5.0]
        assert response.outputs["y"].tensor_content == b""

    def test_text_and_any_bytes_come_back(self, first: Server):
        got = predict(first, spec("probe", "text"), text=["héllo".encode(), b"\xff\x00", b""])
        assert [*got["raw_bytes"]] == ["héllo".encode(), b"\xff\x00", b""]
        assert [*got["length"]] == [6, 2, 0]

    def test_an_empty_batch_is_answered(self, first: Server):
        assert predict(first, "half", x=np.zeros(0, np.float32))["y"].shape == (0,)

    def test_not_a_number_and_infinity_come_back(self, first: Server):
        sent = np.array([np.nan, np.inf, -np.inf], np.float32)
        np.testing.assert_array_equal(predict(first, spec("probe", "float"), x=sent)["x"], sent)

    def test_a_shape_that_the_graph_can_bear_is_answered(self, first: Server):
        got = predict(first, "half", x=[[2.0, 4.0]])
        np.testing.assert_array_equal(got["y"], [[4.0, 5.0]])


class TestOutputs:
    def test_all_come_when_none_is_asked_for(self, first: Server):
        got = predict(first, spec("probe", "two"), a=[3.0], b=[1.0])
        assert got == {"sum": [4.0], "difference": [2.0]}

    def test_the_filter_chooses(self, first: Server):
        got = predict(first, spec("probe", "two"), output_filter=["sum"], a=[3.0], b=[1.0])
        assert got == {"sum": [4.0]}

    def test_the_filter_refuses_what_the_signature_lacks(self, first: Server):
        with refused(
            INVALID,
            "output tensor alias not found in signature: more Outputs expected to be in the set "
            "{difference,sum}.",
        ):
            predict(first, spec("probe", "two"), output_filter=["more"], a=[3.0], b=[1.0])

    def test_the_filter_refuses_a_name_twice(self, first: Server):
        with refused(INVALID, "duplicate output tensor alias: sum"):
            predict(first, spec("probe", "two"), output_filter=["sum", "sum"], a=[3.0], b=[1.0])


class TestInputs:
    def test_a_missing_one_is_refused(self, first: Server):
        with refused(
            INVALID,
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). "
            "Sent extra: {}. Missing but required: {b}.",
        ):
            predict(first, spec("probe", "two"), a=[1.0])

    def test_one_too_many_is_refused(self, first: Server):
        with refused(
            INVALID,
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ):
            predict(first, "half", x=[1.0], z=[1.0])

    def test_another_name_is_refused(self, first: Server):
        with refused(
            INVALID,
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no "
            "default value provided. Inputs expected to be in the request {z}, or default input "
            "alias set: ",
        ):
            predict(first, "half", z=[1.0])

    def test_another_type_is_refused(self, first: Server):
        with refused(INVALID, part="Expects arg[0] to be float but string is provided"):
            predict(first, "half", x=["two"])
        with refused(INVALID, part="Expects arg[0] to be float but int32 is provided"):
            predict(first, "half", x=[2])

    def test_a_shape_that_the_graph_cannot_bear_is_refused(self, first: Server):
        with refused(INVALID, part="Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2]"):
            predict(first, spec("probe", "matrix"), x=[[1.0, 2.0, 3.0]])

    def test_what_is_no_tensor_is_refused(self, first: Server):
        broken = predict_pb2.PredictRequest().inputs["x"]
        broken.dtype = tf.float32.as_datatype_enum
        broken.tensor_shape.dim.add(size=3)
        broken.tensor_content = b"\x00"
        with refused(INVALID, "tensor parsing error: x"):
            predict(first, "half", x=broken)

    def test_a_tensor_beyond_all_memory_is_refused(self, first: Server):
        huge = predict_pb2.PredictRequest().inputs["x"]
        huge.dtype = tf.float32.as_datatype_enum
        huge.tensor_shape.dim.add(size=2**50)
        huge.float_val.append(1.0)  # one value stands for all
        with refused(INVALID, "tensor parsing error: x"):
            predict(first, "half", x=huge)

    def test_a_value_that_the_graph_refuses_is_the_clients_fault(self, first: Server):
        with refused(INVALID, part="indices[0] = 7 is not in [0, 3)"):
            predict(first, spec("probe", "pick"), index=np.array([7], np.int32))

    def test_messages_of_many_megabytes_are_taken(self, first: Server):
        sent = np.arange(2_000_000, dtype=np.float32)
        np.testing.assert_array_equal(predict(first, spec("probe", "float"), x=sent)["x"], sent)

    def test_a_call_ends_at_its_deadline(self, first: Server):
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            predict(first, spec("probe", "hold"), timeout=0.3, seconds=[2.0])


class TestMetadata:
    def get(self, server: Server, about: Any, *fields: str) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        if about:
            request.model_spec.CopyFrom(about)
        return server.predictor.GetModelMetadata(request)

    def test_tells_the_signatures_of_a_version(self, first: Server):
        response = self.get(first, spec("half", version=2), "signature_def")
        assert response.model_spec == spec("half", version=2)
        assert [*response.metadata] == ["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        assert {"serving_default", "hold", "__saved_model_init_op"} == {*signatures.signature_def}
        told = signatures.signature_def["serving_default"]
        assert (told.inputs["x"].name, told.inputs["x"].dtype) == ("serving_default_x:0", 1)
        assert [each.size for each in told.inputs["x"].tensor_shape.dim] == [-1]
        assert told.method_name == "tensorflow/serving/predict"

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ((), "GetModelMetadataRequest must specify at least one metadata_field"),
            (("signature_def", "more"), "Metadata field more is not supported"),
        ],
        ids=["none", "unknown"],
    )
    def test_refuses_other_fields(self, first: Server, fields: tuple[str, ...], text: str):
        with refused(INVALID, text):
            self.get(first, spec("half"), *fields)

    def test_refuses_unknown_models(self, first: Server):
        with refused(INVALID, "Missing ModelSpec"):
            self.get(first, None, "signature_def")
        with refused(NOT_FOUND, "Servable not found for request: Latest(nobody)"):
            self.get(first, spec("nobody"), "signature_def")
