"""Search spaces: found whole, started from the base, and explained where they are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from keras_tuner.src.engine.trial import Trial, TrialStatus

from recipes import RECIPES, recipe
from tuning.options import LocalOptions
from tuning.spaces import (
    configuration,
    differences,
    discover,
    load_space,
    unknown_parameters,
)
from tuning.worker import parameters_of
from zoo.errors import ConfigError, DataError, UnknownNameError


@pytest.mark.parametrize("name", RECIPES)
class TestRecipes:
    """Every recipe has a space of its own."""

    def test_it_begins_at_the_base(self, name: str) -> None:
        base = recipe(name).PRESETS["base"]
        space = load_space(name)
        assert configuration(space, discover(space, base, {}), base, {}) == base

    def test_whatever_it_draws_is_a_configuration(self, name: str) -> None:
        base = recipe(name).PRESETS["base"]
        space = load_space(name)
        hp = discover(space, base, {})
        for seed in range(100):
            for each in hp.space:
                hp.values[each.name] = each.random_sample(seed)
            hp.ensure_active_values()
            configuration(space, hp, base, {})

    def test_no_field_has_the_name_of_an_option_of_the_search(self, name: str) -> None:
        options = {*LocalOptions.__dataclass_fields__} - {"fields"}
        assert not options & {*recipe(name).Config.__dataclass_fields__}


class TestDiscovery:
    """All parameters, whatever they depend on."""

    BASE = recipe("speech").PRESETS["base"]

    def test_parameters_behind_a_condition_are_found_once(self) -> None:
        found = discover(load_space("speech"), self.BASE, {})
        conditional = {each.name: each.conditions for each in found.space if each.conditions}
        assert set(conditional) == {"strides", "stacked"}
        names = [each.name for each in found.space]
        assert len(names) == len(set(names))

    def test_a_fixed_parameter_is_not_searched_over(self) -> None:
        hp = discover(load_space("speech"), self.BASE, {"front": "stack", "units": 96})
        space = load_space("speech")
        config = configuration(space, hp, self.BASE, {"front": "stack", "units": 96})
        assert (config.front, config.units, config.reduction) == ("stack", 96, 4)
        assert {type(each).__name__ for each in hp.space if each.name == "units"} == {"Fixed"}

    @pytest.mark.parametrize(
        ("name", "preset"),
        [(name, preset) for name in RECIPES for preset in recipe(name).PRESETS],
    )
    def test_the_first_trial_is_the_start_whatever_that_is(self, name: str, preset: str) -> None:
        base, space = recipe(name).PRESETS[preset], load_space(name)
        assert configuration(space, discover(space, base, {}), base, {}) == base

    def test_a_range_is_extended_to_hold_the_start(self) -> None:
        base = replace(recipe("sentiment").PRESETS["base"], units=48, dropout=0.9, layers=4)
        found = {each.name: each for each in discover(load_space("sentiment"), base, {}).space}
        assert found["units"].values == [32, 48, 64, 96, 128]
        assert (found["dropout"].max_value, found["layers"].max_value) == (0.9, 4)

    def test_what_cannot_begin_at_the_start_is_told(self) -> None:
        base = replace(recipe("sentiment").PRESETS["base"], dropout=0.0)

        def space(hp: Any, base: Any) -> Any:
            return replace(base, dropout=hp.Float("dropout", 0.1, 0.5, sampling="log"))

        first = configuration(space, discover(space, base, {}), base, {})
        assert differences(first, base) == ["dropout 0.1 instead of 0.0"]

    def test_parameters_behind_a_plain_if_are_found(self) -> None:
        def space(hp: Any, base: Any) -> Any:
            config = replace(base, cell=hp.Choice("cell", ["lstm", "gru"]))
            if config.cell == "gru":
                config = replace(config, layers=hp.Int("layers", 1, 3))
                if config.layers == 3:
                    config = replace(config, units=hp.Choice("units", [16, 32]))
            return config

        hp = discover(space, recipe("sentiment").PRESETS["tiny"], {})
        assert [each.name for each in hp.space] == ["cell", "layers"]
        hp.values |= {"cell": "gru", "layers": 3}  # two conditions at a time are not tried out
        configuration(space, hp, recipe("sentiment").PRESETS["tiny"], {})
        assert unknown_parameters(hp, {"cell", "layers"}) == ["units"]

    @pytest.mark.parametrize("name", RECIPES)
    def test_what_reaches_a_trial_lacks_nothing(self, name: str) -> None:
        base, space = recipe(name).PRESETS["tiny"], load_space(name)
        trial = Trial(discover(space, base, {}), "0000", TrialStatus.RUNNING)
        given = parameters_of(Trial.from_proto(trial.to_proto()))
        hp = keras_tuner.HyperParameters.from_config(dict(given))
        configuration(space, hp, base, {})
        assert unknown_parameters(hp, given["values"]) == []

    def test_a_combination_that_the_recipe_refuses_does_not_refuse_the_space(self) -> None:
        def space(hp: Any, base: Any) -> Any:
            return replace(
                base,
                streaming=hp.Boolean("streaming"),
                front=hp.Choice("front", ["stack", "conv"]),
                search="greedy",
            )

        hp = discover(space, recipe("speech").PRESETS["base"], {})
        assert {each.name for each in hp.space} == {"streaming", "front"}

    def test_one_name_stands_for_one_parameter(self) -> None:
        def space(hp: Any, base: Any) -> Any:
            cell = hp.Choice("cell", ["lstm", "gru"])
            with hp.conditional_scope("cell", ["lstm"]):
                small = hp.Choice("units", [16, 24])
            with hp.conditional_scope("cell", ["gru"]):
                large = hp.Choice("units", [64, 96])
            return replace(base, cell=cell, units=small if cell == "lstm" else large)

        with pytest.raises(ConfigError, match="names 'units' under two conditions"):
            discover(space, recipe("sentiment").PRESETS["tiny"], {})

    def test_a_space_sees_what_is_fixed(self) -> None:
        base = recipe("forecasting").PRESETS["base"]
        hp = discover(load_space("forecasting"), base, {"look_back": 60})
        (seen,) = [each for each in hp.space if each.name == "seen"]
        assert (seen.min_value, seen.max_value) == (5, 60)  # without it up to 120

    def test_where_everything_is_fixed_there_is_nothing_to_search(self) -> None:
        base = recipe("sentiment").PRESETS["tiny"]
        with pytest.raises(ConfigError, match="the space is empty"):
            discover(
                lambda hp, base: replace(base, units=hp.Choice("units", [1, 2])), base, {"units": 2}
            )
        with pytest.raises(ConfigError, match="the space is empty"):
            discover(lambda hp, base: base, base, {})


class TestFilesOfOnesOwn:
    """What is wrong with a file is said in one line."""

    BASE = recipe("sentiment").PRESETS["tiny"]

    def write(self, folder: Path, body: str) -> str:
        file = folder / "mine.py"
        file.write_text(f"from dataclasses import replace\n{body}\n", encoding="utf-8")
        return str(file)

    def explain(self, folder: Path, body: str) -> str:
        space = load_space("sentiment", self.write(folder, f"def space(hp, base):\n    {body}"))
        with pytest.raises((ConfigError, UnknownNameError)) as caught:
            discover(space, self.BASE, {})
        return str(caught.value)

    def test_a_file_is_taken_instead_of_the_recipe_s(self, tmp_path: Path) -> None:
        body = "def space(hp, base):\n    return replace(base, units=hp.Int('units', 8, 24))"
        hp = discover(load_space("sentiment", self.write(tmp_path, body)), self.BASE, {})
        assert hp.values == {"units": 16}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("return replace(base, unitz=hp.Int('unitz', 1, 2))", "unknown field 'unitz'; did you"),
            ("return replace(base, units=base.unitz)", "unknown field 'unitz'; did you mean"),
            ("hp.Int('units', 1, 2)", "must return a Config of its recipe"),
            ("return replace(base, units=hp.Int('units', -3, -2))", "units must be at least 1"),
            ("return replace(base, units=hp.Choice('units', []))", "the space fails: "),
            ("return 1 / 0", "the space fails: division by zero"),
            ("return hp.Chioce('units', [8])", "the space fails: 'HyperParameters' object has no"),
            ("return replace(base, units=hp.Float('units', 8, 9))", "'units' must be int, not 8.0"),
        ],
    )
    def test_a_space_that_is_wrong(self, body: str, message: str, tmp_path: Path) -> None:
        assert message in self.explain(tmp_path, body)

    def test_a_file_without_the_function(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"mine.py must have a function space\(hp, base\)"):
            load_space("sentiment", self.write(tmp_path, "def spaces(hp): ..."))

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("none.py", None, "is no file"),
            ("mine.txt", "", "must be a Python file"),
            ("mine.py", "import nothing_of_this_name", "cannot be run: No module named"),
            ("mine.py", "def space(:", "cannot be run: "),
        ],
    )
    def test_a_file_that_cannot_be_run(
        self, name: str, text: Any, message: str, tmp_path: Path
    ) -> None:
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            load_space("sentiment", str(tmp_path / name))

    def test_a_recipe_without_a_space(self) -> None:
        with pytest.raises(DataError, match="recipe 'cooking' has no search space"):
            load_space("cooking")
