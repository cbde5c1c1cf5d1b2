"""The command line of a frozen dataclass: presets, files, options, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from recipes import config as configuration
from zoo.errors import ConfigError, DataError, MisuseError, UnknownNameError


@dataclass(frozen=True)
class Config:
    """Fields of every kind that recipes use."""

    units: int = 8
    """State size."""
    rate: float = 0.5
    """Dropout."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Layer."""
    data: Path | None = None
    """Own file."""
    fold: bool = True
    """Fold case."""

    def __post_init__(self) -> None:
        configuration.require(self, "at least 1", lambda n: n >= 1, "units")


@dataclass(frozen=True)
class Options:
    """What stands around the fields."""

    fields: Config
    run_dir: Path = Path("runs")
    """Folder."""


PRESETS = {"base": Config(), "large": Config(units=64)}


def parse(*words: str) -> Options:
    return configuration.parse(Options, words, Options(Config()), "program")


def test_options_replace_the_defaults_and_leave_the_rest() -> None:
    options = parse("--units", "3", "--run-dir", "here", "--fold", "False", "--data", "a.csv")
    assert options == Options(Config(units=3, fold=False, data=Path("a.csv")), Path("here"))


@pytest.mark.parametrize("words", [["--units=3"], ["--units", "3"]])
def test_both_spellings_of_an_option_mean_the_same(words: list[str]) -> None:
    assert parse(*words).fields.units == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unit", "3"], "unknown option '--unit'; did you mean '--units'?"),
        (["--units", "three"], "error parsing --units: invalid literal for int"),
        (["--cell", "rnn"], "invalid choice 'rnn' for argument '--cell'"),
        (["--units"], "missing value for argument '--units'"),
        (["stray"], "unexpected word 'stray'"),
        (["--units", "0"], "units must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_parsed_is_named_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(MisuseError) as caught:
        parse(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_lists_every_field_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--units", "State size", "--rate", "--cell", "{lstm,gru}", "--run-dir"):
        assert word in printed


def test_a_preset_then_a_file_decide_where_the_fields_start(tmp_path: Path) -> None:
    assert configuration.starting_point(PRESETS, ["--preset", "large"]) == Config(units=64)
    file = tmp_path / "best.json"
    file.write_text(json.dumps({"rate": 0, "cell": "gru"}))
    words = ["--preset=large", f"--config={file}"]
    expected = Config(units=64, rate=0.0, cell="gru")
    assert configuration.starting_point(PRESETS, words) == expected


def test_an_unknown_preset_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'larg'; did you mean 'large'"):
        configuration.starting_point(PRESETS, ["--preset", "larg"])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", DataError, "is not JSON"),
        ("[1]", DataError, "must hold one JSON object"),
        ('{"unit": 1}', UnknownNameError, "unknown field 'unit'; did you mean 'units'"),
        ('{"units": "3"}', ConfigError, "field 'units' must be int, not '3'"),
        ('{"units": true}', ConfigError, "field 'units' must be int, not True"),
        ('{"units": 0}', ConfigError, "units must be at least 1"),
        ('{"cell": "rnn"}', ConfigError, "field 'cell' must be lstm or gru, not 'rnn'"),
        ('{"data": 3}', ConfigError, "field 'data' must be Path or NoneType, not 3"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path, content: str, error: type[Exception], message: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(error, match=message):
        configuration.starting_point(PRESETS, ["--config", str(file)])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match="--config 'nowhere.json' cannot be read"):
        configuration.starting_point(PRESETS, ["--config", "nowhere.json"])


@pytest.mark.parametrize("config", [Config(), Config(7, 0.25, "gru", Path("x.csv"), False)])
def test_json_and_back_is_the_same_configuration(config: Config) -> None:
    values = json.loads(json.dumps(configuration.to_json(config)))
    assert configuration.from_json(Config, values) == config


def test_a_complaint_is_one_plain_line_on_a_terminal_too() -> None:
    command = [sys.executable, "-m", "recipes", "sentiment", "train", "--units"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "FORCE_COLOR": "1"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    assert process.wait(60) == 2
    os.close(theirs)
    assert os.read(ours, 1000).decode() == (
        "error: missing value for argument '--units'. Expected 1 values.\r\n"
    )
    os.close(ours)
