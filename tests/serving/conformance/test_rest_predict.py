"""The REST interface: predictions, row by row and column by column."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest

from tests.serving.conformance.calls import answer, assert_refused
from tests.serving.conformance.process import Server

PROBE = "/v1/models/probe:predict"
HALF = "/v1/models/half:predict"


def rows(server: Server, signature: str, *instances: Any) -> Any:
    """Ask the probe row by row, and return the predictions."""
    body = {"signature_name": signature, "instances": [*instances]}
    return answer(server.post(PROBE, body))["predictions"]


def columns(server: Server, signature: str, inputs: Any) -> Any:
    """Ask the probe column by column, and return the outputs."""
    return answer(server.post(PROBE, {"signature_name": signature, "inputs": inputs}))["outputs"]


class TestWhoAnswers:
    def test_the_newest_version_answers(self, first: Server):
        assert answer(first.post(HALF, {"instances": [2.0, 4.0]})) == {"predictions": [4.0, 5.0]}

    def test_a_version_or_a_label_can_be_asked_for(self, first: Server):
        for path in ("versions/2", "labels/canary"):
            response = first.post(f"/v1/models/half/{path}:predict", {"inputs": [2.0]})
            assert answer(response) == {"outputs": [3.0]}

    def test_names_may_be_escaped(self, first: Server):
        response = first.post("/v1/models/ha%6Cf/labels/c%61nary:predict", {"inputs": [2.0]})
        assert answer(response) == {"outputs": [3.0]}

    def test_unknown_models_versions_and_labels_are_refused(self, first: Server):
        body = {"instances": [2.0]}
        text = "Servable not found for request: "
        assert_refused(first.post("/v1/models/nobody:predict", body), 404, f"{text}Latest(nobody)")
        response = first.post("/v1/models/half/versions/99:predict", body)
        assert_refused(response, 404, f"{text}Specific(half, 99)")
        response = first.post("/v1/models/half/labels/nothing:predict", body)
        assert_refused(response, 400, "Unrecognized servable version label: nothing")

    def test_an_unknown_signature_is_refused(self, first: Server):
        response = first.post(HALF, {"signature_name": "nothing", "instances": [2.0]})
        text = 'Serving signature name: "nothing" not found in signature def'
        assert_refused(response, 400, text)


class TestRows:
    def test_one_input_needs_no_name(self, first: Server):
        assert rows(first, "float", 1.0, 2.0) == [1.0, 2.0]
        assert rows(first, "matrix", [1, 2, 3, 4]) == [[10.0, 10.0]]

    def test_one_input_may_have_its_name(self, first: Server):
        assert rows(first, "float", {"x": 1.0}, {"x": 2.0}) == [1.0, 2.0]

    def test_several_inputs_and_outputs_have_names(self, first: Server):
        assert rows(first, "two", {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 1.0}) == [
            {"sum": 3.0, "difference": -1.0},
            {"sum": 4.0, "difference": 2.0},
        ]

    @pytest.mark.parametrize(
        ("instances", "text"),
        [
            (
                [1.0],
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map",
            ),
            (
                [{"a": 1.0}],
                "Failed to process element: 0 of 'instances' list. JSON object: "
                '{\n    "a": 1.0\n} keys must be equal to: a,b',
            ),
            (
                [{"a": 1.0, "b": 2.0, "c": 3.0}],
                "Failed to process element: 0 key: c of 'instances' list. Error: "
                "INVALID_ARGUMENT: JSON object: does not have named input: c",
            ),
            (
                [{"a": 1.0, "b": 2.0}, 3.0],
                "Expecting object but got list at item 1 of input list",
            ),
            (
                [{"a": 1.0, "b": 2.0}, {"a": [3.0, 4.0], "b": 2.0}],
                "Failed to process element: 1 key: a of 'instances' list. Error: "
                "INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
            ),
        ],
        ids=["no names", "one missing", "one too many", "mixed", "uneven"],
    )
    def test_names_that_do_not_fit_are_refused(self, first: Server, instances: Any, text: str):
        response = first.post(PROBE, {"signature_name": "two", "instances": instances})
        assert_refused(response, 400, text)

    @pytest.mark.parametrize(
        ("instances", "text"),
        [
            ([1.0, "x"], '1 of \'instances\' list. Error: INVALID_ARGUMENT: JSON Value: "x" '
             "Type: String is not of expected type: float"),
            ([None], "0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: null "
             "Type: Null is not of expected type: float"),
            ([True], "0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true "
             "Type: True is not of expected type: float"),
            ([[1.0], [1.0, 2.0]], "1 of 'instances' list. Error: INVALID_ARGUMENT: "
             "Expecting tensor size: 1 but got: 2"),
            ([[[1.0, 2.0]], [[1.0], [2.0]]], "1 of 'instances' list. Error: INVALID_ARGUMENT: "
             "Expecting shape [1,2] but got: [2,1]"),
            ([[[1.0], [1.0, 2.0]]], "0 of 'instances' list. Error: INVALID_ARGUMENT: "
             "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
            ([[1.0, [2.0]]], "0 of 'instances' list. Error: INVALID_ARGUMENT: "
             "Encountered list at unexpected level: 1 expected < 1"),
            ([[[1.0], 2.0]], "0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 2.0 "
             "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ],
        ids=["text", "null", "bool", "size", "shape", "ragged", "too deep", "too flat"],
    )  # fmt: skip
    def test_values_that_do_not_fit_are_refused(self, first: Server, instances: Any, text: str):
        response = first.post(PROBE, {"signature_name": "float", "instances": instances})
        assert_refused(response, 400, f"Failed to process element: {text}")

    def test_an_object_among_values_is_refused(self, first: Server):
        response = first.post(PROBE, {"signature_name": "float", "instances": [1.0, {"x": 1.0}]})
        text = "Expecting value/list but got object at item 1 of input list"
        assert_refused(response, 400, text)

    def test_outputs_must_have_rows_too(self, first: Server):
        response = first.post(PROBE, {"signature_name": "uneven", "instances": [1.0, 2.0]})
        assert_refused(response, 400, part="has inconsistent batch size: ")


class TestColumns:
    def test_one_input_needs_no_name(self, first: Server):
        assert columns(first, "float", [1.0, 2.0]) == [1.0, 2.0]
        assert columns(first, "scalar", 3.0) == 6.0

    def test_one_input_may_have_its_name(self, first: Server):
        assert columns(first, "float", {"x": [1.0]}) == [1.0]

    def test_several_inputs_and_outputs_have_names(self, first: Server):
        got = columns(first, "two", {"a": [1.0, 3.0], "b": [2.0, 1.0]})
        assert got == {"sum": [3.0, 4.0], "difference": [-1.0, 2.0]}
        assert columns(first, "uneven", [1.0, 2.0]) == {"all": [1.0, 2.0], "one": [1.0]}

    @pytest.mark.parametrize(
        ("inputs", "text"),
        [
            (
                [1.0],
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map",
            ),
            ({"a": [1.0]}, "Missing named input: b in 'inputs' object."),
            (
                {"a": [1.0], "b": [[1.0], [1.0, 2.0]]},
                "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
            ),
            (
                {"a": "x", "b": [1.0]},
                'JSON Value: "x" Type: String is not of expected type: float',
            ),
        ],
        ids=["no names", "one missing", "ragged", "text"],
    )
    def test_what_does_not_fit_is_refused(self, first: Server, inputs: Any, text: str):
        response = first.post(PROBE, {"signature_name": "two", "inputs": inputs})
        assert_refused(response, 400, text)

    def test_names_that_the_signature_lacks_are_passed_over(self, first: Server):
        got = columns(first, "two", {"a": [1.0], "b": [2.0], "c": [3.0]})
        assert got == {"sum": [3.0], "difference": [-1.0]}

    def test_a_shape_that_the_graph_can_bear_is_answered(self, first: Server):
        assert columns(first, "float", [[1.0], [2.0]]) == [[1.0], [2.0]]
        assert rows(first, "scalar", 3.0, 4.0) == [6.0, 8.0]


class TestValues:
    def test_integers_keep_all_their_digits(self, first: Server):
        numbers = [2**53 + 1, 2**63 - 1, -(2**63)]
        assert rows(first, "integer", *numbers) == numbers
        response = first.post(PROBE, {"signature_name": "integer", "instances": [2**63]})
        assert_refused(response, 400, part="Type: Number is not of expected type: int64")
        response = first.post(PROBE, {"signature_name": "integer", "instances": [1.0]})
        assert_refused(response, 400, part="Type: Number is not of expected type: int64")

    def test_every_type_has_its_json(self, first: Server):
        row = {
            "bool": True,
            "double": 0.1,
            "int32": -5,
            "int64": 2**60,
            "int8": -8,
            "uint8": 255,
            "uint32": 2**32 - 1,
            "uint64": 2**64 - 1,
        }
        assert rows(first, "echo", row, row) == [row, row]

    def test_not_a_number_and_infinity_are_spelled_out(self, first: Server):
        body = '{"signature_name": "float", "instances": [NaN, Infinity, -Infinity, Inf, -Inf]}'
        response = first.post(PROBE, body)
        got = answer(response)["predictions"]
        assert math.isnan(got[0]) and got[1:] == [math.inf, -math.inf] * 2
        assert "NaN" in response.text and "-Infinity" in response.text

    def test_decimals_have_the_digits_of_32_bits(self, first: Server):
        texts = {0.1: "0.1", 1 / 3: "0.333333343", 1e-5: "1e-05", 9e6: "9e+06", 12.0: "12.0"}
        response = first.post(PROBE, {"signature_name": "float", "instances": [*texts]})
        told = response.text.split("[")[1].split("]")[0].split(",")
        assert [each.strip() for each in told] == [*texts.values()]
        np.testing.assert_array_equal(
            np.float32(answer(response)["predictions"]), np.float32([*texts])
        )

    def test_text_and_any_bytes_come_back(self, first: Server):
        blob = base64.b64encode(b"\xff\x00").decode()
        assert rows(first, "text", "grün", {"b64": base64.b64encode(b"abc").decode()}) == [
            {"upper": "GRüN", "raw_bytes": {"b64": "Z3LDvG4="}, "length": 5},
            {"upper": "ABC", "raw_bytes": {"b64": "YWJj"}, "length": 3},
        ]
        assert columns(first, "text", {"text": [{"b64": blob}]})["raw_bytes"] == [{"b64": blob}]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({"b64": "%%%"}, "Unable to base64 decode"),
            ({"b64": 5}, "not formatted correctly for base64 data"),
            ({"b64": "YQ==", "more": 1}, "not formatted correctly for base64 data"),
            (5, "JSON Value: 5 Type: Number is not of expected type: string"),
        ],
        ids=["no base64", "number", "more keys", "no text"],
    )
    def test_what_is_no_text_is_refused(self, first: Server, value: Any, text: str):
        response = first.post(PROBE, {"signature_name": "string", "inputs": {"s": [value]}})
        assert_refused(response, 400, part=text)

    def test_types_that_json_lacks_are_refused(self, first: Server):
        response = first.post(PROBE, {"signature_name": "half_precision", "instances": [1.0]})
        assert_refused(response, 400, "Failed to write JSON value for tensor type: half")

    def test_a_value_that_the_graph_refuses_is_the_clients_fault(self, first: Server):
        response = first.post(PROBE, {"signature_name": "pick", "instances": [7]})
        assert_refused(response, 400, part="indices[0] = 7 is not in [0, 3)")


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ("", "JSON Parse error: The document is empty"),
            ("instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
            ('{"instances": [1.0', "JSON Parse error: Missing a comma or ] after an array "
             "element. at offset: 18"),
            ("[1.0]", "JSON Value: [1.0] Is not object"),
            ("{}", "Missing 'inputs' or 'instances' key"),
            ('{"instances": 1}', 'JSON Value: {\n    "instances": 1\n} Expecting \'instances\' '
             "to be an list/array"),
            ('{"instances": []}', 'JSON Value: {\n    "instances": []\n} No values in '
             "'instances' array"),
            ('{"signature_name": 5}', 'JSON Value: {\n    "signature_name": 5\n} not formatted '
             "correctly. 'signature_name' key must be a string value."),
            ('{"inputs": [1.0], "instances": [1.0]}', 'JSON Value: {\n    "inputs": [1.0],\n'
             '    "instances": [1.0]\n} Not formatted correctly expecting only one of \'inputs\' '
             "or 'instances' keys to exist "),
        ],
        ids=["empty", "no json", "cut", "list", "no key", "no list", "no rows", "signature",
             "both"],
    )  # fmt: skip
    def test_what_is_no_request_is_refused(self, first: Server, body: str, text: str):
        assert_refused(first.post(HALF, body), 400, text)

    def test_what_follows_the_document_is_passed_over(self, first: Server):
        assert answer(first.post(HALF, '{"instances": [2.0]} and more')) == {"predictions": [4.0]}

    def test_large_bodies_are_taken(self, first: Server):
        numbers = [float(number) for number in range(200_000)]
        assert rows(first, "float", *numbers) == numbers

    def test_a_call_ends_when_its_time_is_over(self, first: Server):
        body = {"signature_name": "hold", "instances": [6.0]}
        assert_refused(first.post(PROBE, json.dumps(body)), 504)
