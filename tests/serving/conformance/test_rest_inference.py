"""The REST interface: classification and regression of Examples written as JSON."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.serving.conformance.calls import answer, assert_refused
from tests.serving.conformance.process import Server


def send(server: Server, method: str, body: Any, signature: str = "") -> Any:
    """Send Examples, in a body or as a list, to the signature named like the method."""
    body = body if isinstance(body, dict) else {"examples": body}
    body = {"signature_name": signature or method, **body}
    return server.post(f"/v1/models/probe:{method}", body)


class TestAnswers:
    def test_classes_are_pairs_of_label_and_score(self, first: Server):
        response = send(first, "classify", [{"x": 1.0}, {"x": -1.0}])
        assert answer(response) == {
            "results": [
                [["negative", 0.0], ["positive", 1.0]],
                [["negative", 1.0], ["positive", 0.0]],
            ]
        }

    def test_labels_may_be_missing(self, first: Server):
        response = send(first, "classify", [{"x": 2.0}], "scores")
        assert answer(response) == {"results": [[["", 3.0]]]}

    def test_regression_gives_a_number_per_row(self, first: Server):
        response = send(first, "regress", [{"x": 2.0}, {"x": [4.0]}])
        assert answer(response) == {"results": [3.0, 4.0]}

    def test_the_context_belongs_to_every_row(self, first: Server):
        body = {"context": {"shift": 2.0}, "examples": [{"x": 2.0}, {"x": 4.0}]}
        assert answer(send(first, "regress", body)) == {"results": [4.0, 5.0]}


@pytest.mark.parametrize("method", ["classify", "regress"])
class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({}, "When method is classify, key 'examples' is expected and was not found"),
            ({"examples": 5}, "Expecting 'examples' value to be an list/array"),
            ({"examples": []}, "'examples' value is an empty array"),
            ({"examples": [5]}, "Example must be JSON object but got JSON Number"),
            ({"context": 5, "examples": [{}]}, "Example must be JSON object but got JSON Number"),
            ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
            (
                {"examples": [{"x": [[1.0]]}]},
                "Feature: x has element with unexpected JSON type: Array",
            ),
            (
                {"examples": [{"x": {"y": 1}}]},
                "Feature: x has element with unexpected JSON type: Object",
            ),
            (
                {"examples": [{"x": [1.0, "a"]}]},
                "Unexpected element type in feature: x expecting type: float",
            ),
            (
                {"examples": [{"x": ["a", 1]}]},
                "Unexpected element type in feature: x expecting type: bytes",
            ),
            (
                {"examples": [{"x": [True, 1.0]}]},
                "Unexpected element type in feature: x expecting type: int64",
            ),
            (
                {"examples": [{"x": 2**63}]},
                "Feature: x has uint64_t element. Only int64_t is supported.",
            ),
        ],
        ids=["none", "no list", "empty", "no object", "no context", "null", "nested", "object",
             "text", "number", "decimal", "uint64"],
    )  # fmt: skip
    def test_what_is_no_example_is_refused(self, first: Server, method: str, body: Any, text: str):
        assert_refused(send(first, method, body), 400, part=text)

    def test_features_of_another_type_are_refused(self, first: Server, method: str):
        for value in (1, "text", {"b64": base64.b64encode(b"\xff").decode()}):
            response = send(first, method, [{"x": value}])
            assert_refused(response, 400, part="Data types don't match")

    def test_a_feature_must_be_there_under_its_name(self, first: Server, method: str):
        text = "Feature: x (data type: float) is required but could not be found."
        assert_refused(send(first, method, [{"y": 1.0}]), 400, part=text)
        body = f'{{"signature_name": "{method}", "examples": [{{"?": 1.0}}]}}'.encode()
        response = first.post(f"/v1/models/probe:{method}", body.replace(b"?", b"\xff"))
        assert_refused(response, 400, part=text)

    def test_unknown_models_and_signatures_are_refused(self, first: Server, method: str):
        body = {"examples": [{"x": 1.0}]}
        response = first.post(f"/v1/models/nobody:{method}", body)
        assert_refused(response, 404, "Servable not found for request: Latest(nobody)")
        text = "No signature was found with the name: nothing"
        assert_refused(send(first, method, body, "nothing"), 400, text)
