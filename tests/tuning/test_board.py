"""What a person sees of a search."""

from __future__ import annotations

import io

from rich.console import Console

from recipes.headline import Headline
from tuning.board import picture, sparkline
from tuning.trials import COMPLETED, FAILED, RUNNING, Search, Trial


def test_a_curve_is_a_line_of_bars() -> None:
    assert sparkline([0.1, 0.2, 0.3]) == "▁▄█" or sparkline([0.1, 0.2, 0.3]) == "▁▅█"
    assert sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([float("nan")]) == sparkline([]) == ""


def test_the_table_has_what_runs_first_and_the_best_next() -> None:
    trials = [
        Trial("0", COMPLETED, {"units": 16, "cell": "lstm"}, 0.7, (0.6, 0.7), "worker-0"),
        Trial("1", FAILED, {"units": 32, "cell": "lstm"}, reason="the loss is nan"),
        Trial("2", COMPLETED, {"units": 64, "cell": "lstm"}, 0.8, (0.7, 0.8), "worker-1"),
        Trial("3", RUNNING, {"units": 64, "cell": "lstm"}, None, (0.5,), "worker-0"),
    ]
    search = Search("sentiment", "random", Headline("accuracy"), 0, 30.0, {"epochs": 2}, trials, 8)
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(search))
    lines = console.file.getvalue().splitlines()
    assert lines[0].split() == ["trial", "worker", "epochs", "accuracy", "units"]  # cell: all alike
    assert [line.split()[0] for line in lines[1:5]] == ["3", "2", "0", "1"]
    assert "1/2" in lines[1] and "0.8000" in lines[2] and "the loss is nan" in lines[4]
    assert lines[5].split("  ") == ["3 of 8 trials", "best accuracy 0.8000", "about 0:00:50 left"]
    console.print(picture(search, budget=40.0))
    assert console.file.getvalue().splitlines()[-1].endswith("  about 0:00:10 left")
    console.print(picture(search, finishing=[0.7]))
    assert console.file.getvalue().splitlines()[-1].endswith("trained to its end: epoch 1")


def test_a_search_without_trials_can_be_shown() -> None:
    search = Search("sentiment", "random", Headline("accuracy"), 0, 0.0, {"epochs": 2})
    Console(file=io.StringIO()).print(picture(search))
