"""What a search is asked for, and whose folder is whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.run import Run
from tuning.options import LocalOptions, Settings, read_options, seconds
from zoo.errors import ConfigError, DataError, MisuseError, UnknownNameError


def read(*words: str) -> tuple[Settings, LocalOptions]:
    return read_options(LocalOptions, "sentiment", words, "run")


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1.5", 1.5)]
)
def test_lengths_of_time(text: str, value: float) -> None:
    assert seconds(text, "budget") == value


@pytest.mark.parametrize("text", ["", "soon", "-3m", "3 weeks", "m"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ConfigError, match="budget must be a time such as 90s, 30m or 2h, not"):
        seconds(text, "budget")


def test_fields_of_the_recipe_are_where_the_search_starts() -> None:
    settings, options = read("--preset", "tiny", "--units", "24", "--workers", "2", "--trials", "7")
    assert settings.start().units == 24
    assert settings.start().dataset == "synthetic"
    assert (options.workers, options.trials) == (2, 7)
    assert options.run_dir == Path("runs/sentiment-search")


def test_fixed_fields_have_their_types() -> None:
    settings, _ = read("--fix", "cell=gru", "units=8", "dropout=0", "lower_case=false")
    assert settings.fixed == {"cell": "gru", "units": 8, "dropout": 0.0, "lower_case": False}
    assert (settings.start().cell, settings.start().units) == ("gru", 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fix", "units"], "--fix takes field=value, such as units=64, not 'units'"),
        (["--fix", "unitz=3"], "unknown field 'unitz'; did you mean 'units'"),
        (["--fix", "units=many"], "field 'units' must be int, not 'many'"),
        (["--fix", "units=0"], "units must be at least 1, not 0"),
        (["--workers", "0"], "workers must be at least 1, not 0"),
        (["--port", "70000"], "port must be from 0 to 65535, not 70000"),
        (["--budget", "long"], "budget must be a time such as"),
        (["--lease", "0s"], "lease must be at least 10s, not 0s"),
        (["--trials", "-1"], "trials must be at least 0, not -1"),
        (["--algorithm", "evolution"], "evolution"),
        (["--worker", "2"], "unknown option '--worker'; did you mean '--workers'"),
    ],
)
def test_what_cannot_be_asked_for(words: list[str], message: str) -> None:
    with pytest.raises((MisuseError, UnknownNameError)) as caught:
        read(*words)
    assert message in str(caught.value)


def test_settings_come_back_from_their_folder(tmp_path: Path) -> None:
    settings, _ = read("--preset", "tiny", "--fix", "units=8", "--max-latency-ms", "5")
    with Run(tmp_path, "sentiment", settings.to_json()):
        assert Settings.read(tmp_path) == settings
    assert settings.measures_latency


def test_a_folder_belongs_to_one_search(tmp_path: Path) -> None:
    settings, _ = read("--preset", "tiny")
    other, _ = read("--preset", "tiny", "--units", "24")
    with Run(tmp_path, "sentiment", settings.to_json()):
        pass
    with pytest.raises(ConfigError, match=r"was started with base.units=16, not 24"):
        Run(tmp_path, "sentiment", other.to_json())


def test_a_search_of_another_version_is_told(tmp_path: Path) -> None:
    settings, _ = read("--preset", "tiny")
    with Run(tmp_path, "sentiment", {**settings.to_json(), "patients": 3}):
        pass
    with pytest.raises(DataError, match="is a search of another version of this program"):
        Settings.read(tmp_path)


def test_a_run_of_a_recipe_is_no_search(tmp_path: Path) -> None:
    with Run(tmp_path, "sentiment", {"units": 3}):
        pass
    with pytest.raises(DataError, match="is a run of recipe 'sentiment', no search"):
        Settings.read(tmp_path)
