"""The table of errors: complete, unambiguous, and the same in both directions."""

from __future__ import annotations

import grpc
import numpy as np

from serving import errors


def test_every_grpc_code_has_its_row() -> None:
    published = {code.value[0]: code.name for code in grpc.StatusCode}
    del published[grpc.StatusCode.OK.value[0]]
    assert {row.code: row.name for row in errors.TABLE} == published


def test_every_class_has_at_most_one_row_and_is_drawn() -> None:
    classes = [row.error for row in errors.TABLE]
    assert len(set(classes)) == len(classes)
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, Exception):
            assert f" {each.__name__} " in f"{errors.__doc__} ".replace("\n", " \n")


def test_codes_lead_to_the_class_and_back() -> None:
    for row in errors.TABLE:
        error = errors.from_code(row.code, "why")
        assert type(error) is row.error and str(error) == "why"
        assert errors.row_of(error) == row


def test_http_statuses_lead_to_the_first_class_of_the_table() -> None:
    assert type(errors.from_http(400, "")) is errors.InvalidArgument
    assert type(errors.from_http(404, "")) is errors.NotFound
    assert type(errors.from_http(500, "")) is errors.ServerFault
    assert type(errors.from_http(503, "")) is errors.Unreachable
    assert type(errors.from_http(418, "")) is errors.RequestRefused
    assert type(errors.from_http(502, "")) is errors.ServerFault


def test_unknown_codes_and_classes_are_faults() -> None:
    assert type(errors.from_code(99, "")) is errors.ServerFault
    assert errors.row_of(errors.ServingError("")).name == "UNKNOWN"


def test_a_row_error_names_the_rows() -> None:
    answer = {"status": np.array(["bad"] * 5, object)}
    error = errors.RowError({0: "a", 4: "b"}, answer)
    assert str(error) == "2 of 5 rows cannot be used: row 0: a; row 4: b"
    many = errors.RowError(dict.fromkeys(range(5), "a"), answer)
    assert str(many).endswith("row 2: a; ...")
