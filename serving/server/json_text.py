"""JSON text to values, with what the reference server's parser takes and says.

Beyond the standard, `NaN`, `Inf` and `Infinity` are numbers, and what follows the first value
is not looked at.
"""

from __future__ import annotations

import json
import re
from typing import Any

from serving.errors import InvalidArgument

_REASONS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
}
_MISSING_COMMA = {
    "[": "Missing a comma or ] after an array element.",
    "{": "Missing a comma or } after an object member.",
}
_STRING = r'"(?:[^"\\]|\\.)*"'
_SHORT_INFINITY = re.compile(rf"{_STRING}|\bInf\b")
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]")


def parse(body: bytes) -> Any:
    """Return the value at the start of a body. Bytes that are not UTF-8 become surrogates.

    Raises:
        InvalidArgument: There is none.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")  # the mark with which some programs begin UTF-8
    text = body.decode(errors="surrogateescape").lstrip(" \t\r\n")
    if not text:
        raise InvalidArgument("JSON Parse error: The document is empty")
    try:
        return _value(text)
    except json.JSONDecodeError as error:
        whole = _SHORT_INFINITY.sub(lambda found: _in_full(found[0]), text)
        if error.msg == "Expecting value" and whole != text:
            return parse(whole.encode(errors="surrogateescape"))
        raise InvalidArgument(
            f"JSON Parse error: {_reason(error)} at offset: {error.pos}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"JSON Parse error: {error}") from error


def _value(text: str) -> Any:
    return json.JSONDecoder().raw_decode(text)[0]


def _in_full(found: str) -> str:
    return "Infinity" if found == "Inf" else found


def _reason(error: json.JSONDecodeError) -> str:
    """Return what is wrong in the reference's words."""
    if error.msg == "Expecting ',' delimiter":
        open_brackets = [""]
        for bracket in _BRACKET.findall(error.doc[: error.pos]):
            if bracket in _MISSING_COMMA:
                open_brackets.append(bracket)
            elif bracket in "]}":
                open_brackets.pop()
        return _MISSING_COMMA[open_brackets[-1]]
    return _REASONS.get(error.msg, f"{error.msg}.")
