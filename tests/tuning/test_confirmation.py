"""What a search has gained, as it is said and shown."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.tuning.report_searches import search as made
from tuning.confirmation import FILE, Confirmation, read_confirmation
from tuning.report.page import search_page

FOUND = Confirmation(
    "accuracy", False, (0, 1, 2), [0.80, 0.81, 0.79], [0.82, 0.81, 0.83], {"nb_svm": 0.801}
)


def test_the_gain_is_that_of_the_means_and_never_of_the_wrong_sign() -> None:
    assert FOUND.gain == pytest.approx(0.02)
    assert replace(FOUND, lower_is_better=True).gain == pytest.approx(-0.02)
    assert str(FOUND) == (
        "test accuracy over seeds 0, 1, 2: best 0.8200 ± 0.0100, start 0.8000 ± 0.0100: better, "
        "+0.0200"
    )
    assert "no better, -0.0200" in str(replace(FOUND, lower_is_better=True))
    assert "best 0.8200, start 0.8000" in str(replace(FOUND, seeds=[0], start=[0.8], best=[0.82]))


def test_the_page_of_a_search_shows_it_once_it_is_there(tmp_path: Path) -> None:
    search = made(12)
    before = search_page(search, tmp_path)
    assert read_confirmation(tmp_path) is None
    assert "On the test part" not in [section.title for section in before.sections]
    (tmp_path / FILE).write_text(json.dumps(asdict(FOUND)))
    assert read_confirmation(tmp_path) == replace(FOUND, seeds=[0, 1, 2])
    (section,) = [s for s in search_page(search, tmp_path).sections if "test part" in s.title]
    assert section.text.endswith("is better than the base by 0.0200.")
    assert section.table and [row[0] for row in section.table.rows] == ["best", "base", "nb_svm"]
