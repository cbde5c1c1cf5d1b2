"""Search spaces: which fields of a recipe are searched over, and in which ranges.

A space is a module with one function, `space(hp, base) -> Config`: from KerasTuner's
`HyperParameters` and a starting configuration to the configuration of a trial. It reads no data
and builds no model. A file of your own with such a function is given by `--space FILE.py`.

A parameter that is named as a field begins at that field's value of `base`, and its range is
extended to hold it, so that the first trial of a search is the configuration that the search starts
from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from recipes.config import from_json, to_json
from zoo.errors import ConfigError, DataError, SeqZooError, UnknownNameError

Function = Callable[[Any, Any], Any]
OF_ALGORITHM = "tuner/"
"""Names under which an algorithm keeps notes of its own among a trial's parameters."""


def load_space(recipe: str, file: str = "") -> Function:
    """Return the function `space` of a recipe, or of a file of your own.

    Raises:
        DataError: The file cannot be read or run, or the recipe has no space.
        ConfigError: It has no function `space(hp, base)`.
    """
    name = f"tuning.spaces.{recipe}"
    if not file and importlib.util.find_spec(name) is None:
        raise DataError(f"recipe '{recipe}' has no search space: give one by --space FILE.py")
    module = _run_file(Path(file)) if file else importlib.import_module(name)
    function = getattr(module, "space", None)
    if not callable(function) or len(inspect.signature(function).parameters) != 2:
        raise ConfigError(f"{file or name} must have a function space(hp, base)")
    return function


def configuration(function: Function, hp: Any, base: Any, fixed: Mapping[str, Any]) -> Any:
    """Return the configuration that a space makes of a trial's parameters.

    Args:
        function: The space.
        hp: KerasTuner's `HyperParameters` with the trial's values.
        base: Where it starts from.
        fixed: Fields that have this value whatever the space says.

    Raises:
        UnknownNameError: The space sets a field that the recipe does not have.
        ConfigError: It returns something else than a configuration, a value breaks its field's
            rule or is of another type, or the space fails.
    """
    fields = [field.name for field in dataclasses.fields(base)]
    try:
        config = function(hp, dataclasses.replace(base, **fixed))
    except SeqZooError:
        raise
    except Exception as error:  # whatever a file of the user's own raises
        raise _explained(error, fields) from error
    if type(config) is not type(base):
        raise ConfigError(
            f"the space must return a {type(base).__name__} of its recipe, such as "
            f"dataclasses.replace(base, ...), not {type(config).__name__}"
        )
    # Of False and True in a choice KerasTuner makes 0 and 1.
    switches = {
        name: bool(getattr(config, name))
        for name in fields
        if isinstance(getattr(base, name), bool) and getattr(config, name) in (0, 1)
    }
    made = dataclasses.replace(config, **{**switches, **fixed})
    return from_json(type(base), to_json(made))  # which says what is of another type


def discover(function: Function, base: Any, fixed: Mapping[str, Any]) -> Any:
    """Return all parameters of a space as KerasTuner's `HyperParameters`, conditional ones too.

    Raises:
        ConfigError: There is nothing to search over, or one name stands for two parameters.
    """
    import keras_tuner

    found = keras_tuner.HyperParameters()
    _visit_scopes(function, found, base, fixed)
    # Code behind a plain `if` names its parameters only when it runs.
    visited: set[tuple[str, Any]] = set()
    while new := [pair for pair in _single_values(found) if pair not in visited]:
        for name, value in new:
            visited.add((name, value))
            with contextlib.suppress(ConfigError):  # it may go with other values only
                _visit_scopes(function, found, base, fixed, {name: value})
    space = keras_tuner.HyperParameters()
    space.merge([_at_home(each, base, fixed) for each in found.space])
    space.ensure_active_values()
    if all(isinstance(each, _fixed_kind()) for each in space.space):
        raise ConfigError("the space is empty: every parameter is fixed, so nothing is to search")
    return space


def _visit_scopes(
    function: Function,
    found: Any,
    base: Any,
    fixed: Mapping[str, Any],
    values: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add to `found` what a space names where parameters have these values, in all its scopes."""
    # Code behind a condition runs only where the condition holds: every branch is visited.
    branches: list[list[Any]] = [[]]
    visited: list[list[Any]] = []
    while branches:
        conditions = branches.pop()
        visited.append(conditions)
        hp = found.copy()
        hp.values.update(values)
        for condition in conditions:
            hp.values[condition.name] = condition.values[0]
        hp.ensure_active_values()
        configuration(function, hp, base, fixed)
        branches += [each for each in hp.inactive_scopes if each not in visited + branches]
        found.merge(hp.space, overwrite=False)
        names = [each.name for each in found.space]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(  # of the values of such a parameter KerasTuner forgets some
                f"the space names '{twice[0]}' under two conditions: give each a name of its own"
            )


def _single_values(space: Any) -> list[tuple[str, Any]]:
    """Return the values by which a space may decide, with their parameters."""
    import keras_tuner.engine.hyperparameters as kinds

    pairs: list[tuple[str, Any]] = []
    for each in space.space:
        if isinstance(each, kinds.Choice | kinds.Boolean):
            pairs += [(each.name, value) for value in each.values]
        elif isinstance(each, kinds.Int):
            pairs += [(each.name, each.min_value), (each.name, each.max_value)]
    return pairs


def differences(config: Any, base: Any) -> list[str]:
    """Return the fields by which a configuration differs from another, with both values."""
    names = [field.name for field in dataclasses.fields(base)]
    return [
        f"{name} {getattr(config, name)!r} instead of {getattr(base, name)!r}"
        for name in names
        if getattr(config, name) != getattr(base, name)
    ]


def unknown_parameters(space: Any, known: Iterable[str]) -> list[str]:
    """Return what a space asks for that has no value: it was not named when all were looked for.

    What stands under a condition that does not hold has no value either, and is not asked for.
    """
    asked = [each.name for each in space.space if space.is_active(each)]
    return [name for name in asked if name not in known]


def _at_home(parameter: Any, base: Any, fixed: Mapping[str, Any]) -> Any:
    """Return a parameter that begins at the base's value, or is fixed."""
    name = parameter.name
    if isinstance(parameter, _fixed_kind()):
        return parameter
    if name in fixed:
        return _fixed_kind()(name, fixed[name], conditions=parameter.conditions)
    value = getattr(base, name, None)
    config = parameter.get_config()
    if "values" in config:
        config |= _choice_with(config, value)
    elif "min_value" in config:
        config |= _range_with(config, value)
    elif isinstance(value, bool):
        config["default"] = value
    return type(parameter).from_config(config)


def _choice_with(config: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Return what of a choice changes to begin at a value, which its type allows."""
    values = [*config["values"]]
    if _is_number(values[0]) and _is_number(value):
        # Of False and True KerasTuner has made 0 and 1.
        kind = float if isinstance(value, float) or isinstance(values[0], float) else int
        values, value = [*map(kind, values)], kind(value)
    elif type(value) is not type(values[0]):
        return {}
    if value not in values:
        values.append(value)
        if config["ordered"]:
            values.sort()
    return {"values": values, "default": value}


def _range_with(config: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Return what of a range changes to begin at a value, if that is a number and not of 0."""
    if not _is_number(value) or isinstance(value, bool):
        return {}
    if config["sampling"] != "linear" and value <= 0:
        return {}
    low, high = min(config["min_value"], value), max(config["max_value"], value)
    return {"min_value": low, "max_value": high, "default": value}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _fixed_kind() -> Any:
    from keras_tuner.src.engine.hyperparameters import Fixed

    return Fixed


def _explained(error: Exception, fields: list[str]) -> SeqZooError:
    """Return what `dataclasses.replace` and KerasTuner complain about, in this house's words."""
    text = str(error).replace("`", "'").splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, TypeError) and "unexpected keyword argument" in text:
        return UnknownNameError("field", text.rpartition(" ")[2].strip("'?"), fields)
    if isinstance(error, AttributeError) and dataclasses.is_dataclass(error.obj):
        return UnknownNameError("field", error.name or "", fields)
    return ConfigError(f"the space fails: {text}")


def _run_file(file: Path) -> Any:
    if not file.is_file():
        raise DataError(f"--space '{file}' is no file")
    spec = importlib.util.spec_from_file_location(f"space_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise DataError(f"--space '{file}' must be a Python file that ends with .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file of the user's own raises
        text = str(error) or type(error).__name__
        raise DataError(f"--space '{file}' cannot be run: {text}") from error
    return module
