"""Errors say what is wrong in one line and carry the exit code of a command."""

from __future__ import annotations

import inspect
import re

import pytest

from zoo import errors
from zoo.errors import MisuseError, SeqZooError, UnknownNameError, suggestion

TREE = {
    name: value
    for name, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception)
}


def test_the_drawing_names_every_error_and_its_parent():
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else None
    parents = {name: value.__base__ and value.__base__.__name__ for name, value in TREE.items()}
    assert drawn == {**parents, "SeqZooError": None}


@pytest.mark.parametrize("error", TREE.values(), ids=TREE.keys())
def test_misuse_ends_with_2_and_everything_else_with_1(error: type[SeqZooError]):
    assert error.exit_code == (2 if issubclass(error, MisuseError) else 1)


def test_an_unknown_name_comes_with_the_nearest_one():
    error = UnknownNameError("recipe", "sentimnet", ["speech", "sentiment"])
    assert str(error) == (
        "unknown recipe 'sentimnet'; did you mean 'sentiment'? (known: sentiment, speech)"
    )
    assert (error.kind, error.received) == ("recipe", "sentimnet")
    assert error.known == ["sentiment", "speech"]


def test_nothing_near_is_suggested_for_a_name_unlike_all_others():
    assert suggestion("xyz", ["speech", "video"]) == " (known: speech, video)"


def test_a_long_list_is_left_out():
    names = [f"name-{index}" for index in range(13)]
    assert suggestion("name-7x", names) == "; did you mean 'name-7'?"


def test_an_empty_table_suggests_nothing():
    assert suggestion("anything", []) == ""
