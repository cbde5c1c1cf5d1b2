"""From a command line to the frozen dataclass that a recipe is configured by.

The options are generated from the dataclass by tyro. Values come, in rising order, from
the preset, from `--config FILE`, and from the options themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from zoo.errors import ConfigError, DataError, MisuseError, UnknownNameError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What tyro writes on a terminal, even where its words go elsewhere."""

T = TypeVar("T")
C = TypeVar("C")


def parse(options: type[T], arguments: Sequence[str], default: T, program: str) -> T:
    """Return `options` filled from `arguments`; prints and exits for `--help`.

    Args:
        options: A dataclass; its docstrings are the help.
        arguments: The words behind the command.
        default: Values of the options that are not given.
        program: How the command is called, for the help.

    Raises:
        UnknownNameError: There is no such option.
        MisuseError: A value is missing or does not fit its field.
    """
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed, unknown = tyro.cli(
                options,
                args=list(arguments),
                default=default,
                prog=program,
                return_unknown_args=True,
                config=(tyro.conf.FlagConversionOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if stop.code:
            raise MisuseError(_first_line(complaint.getvalue())) from None
        raise
    for word in unknown:
        if word.startswith("--"):
            received = word.partition("=")[0]
            raise UnknownNameError("option", received, option_names(default))
        raise MisuseError(f"unexpected word '{word}': options are written --name value")
    return parsed


def option_names(options: Any) -> list[str]:
    """Return the options that `parse` knows for a dataclass instance, as they are typed."""
    names = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            names += option_names(value)
        else:
            names.append("--" + field.name.replace("_", "-"))
    return names


def value_of(option: str, arguments: Sequence[str]) -> str | None:
    """Return the value of one option before the rest is parsed, None if it is not given."""
    value = None
    for index, word in enumerate(arguments):
        if word == option and index + 1 < len(arguments):
            value = arguments[index + 1]
        if word.startswith(option + "="):
            value = word.partition("=")[2]
    return value  # of several the last, as everywhere on a command line


def starting_point(presets: Mapping[str, C], arguments: Sequence[str]) -> C:
    """Return the configuration that `--preset` and `--config` name, before single fields.

    Raises:
        UnknownNameError: There is no such preset, or the file has an unknown field.
        DataError: The file is missing or is no JSON object.
    """
    name = value_of("--preset", arguments) or "base"
    if name not in presets:
        raise UnknownNameError("preset", name, presets)
    file = value_of("--config", arguments)
    if file is None:
        return presets[name]
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--config '{file}' cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"--config '{file}' is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise DataError(f"--config '{file}' must hold one JSON object of fields")
    return from_json(type(presets[name]), {**to_json(presets[name]), **values})


def to_json(config: Any) -> dict[str, Any]:
    """Return the resolved configuration as JSON values."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(config: type[C], values: Mapping[str, Any]) -> C:
    """Rebuild a configuration from `to_json`.

    Raises:
        UnknownNameError: A field that the dataclass does not have.
        ConfigError: A value of the wrong type, or one that breaks the field's rule.
    """
    hints = typing.get_type_hints(config)
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise UnknownNameError("field", name, hints)
        fields[name] = _typed(name, value, hints[name])
    return config(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Return a JSON value as the type of its field."""
    kinds = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(name, item, kinds[0]) for item in value)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds and type(value) is int:
        return float(value)
    # By exact type, since a bool is an int to `isinstance`.
    literal = typing.get_origin(hint) is typing.Literal
    if value not in kinds if literal else type(value) not in kinds:
        allowed = " or ".join(str(getattr(kind, "__name__", kind)) for kind in kinds)
        raise ConfigError(f"field '{name}' must be {allowed}, not {value!r}")
    return value


def require(config: Any, rule: str, holds: Callable[[Any], bool], *names: str) -> None:
    """Check numeric fields against a rule; for a configuration's `__post_init__`.

    Raises:
        ConfigError: A field breaks the rule; NaN breaks every rule.
    """
    for name in names:
        value = getattr(config, name)
        if not holds(value):
            raise ConfigError(f"{name} must be {rule}, not {value}")


def _first_line(box: str) -> str:
    """Return what tyro says first, without the frame and the colours that it draws."""
    lines = [line.strip("│╭╮╰╯ ") for line in _COLOUR.sub("", box).splitlines()]
    message: list[str] = []
    for line in lines[1:]:
        if line.startswith("──"):
            break
        message.append(line)
    text = " ".join(filter(None, message)) or "the options cannot be read"
    return text[:1].lower() + text[1:]
