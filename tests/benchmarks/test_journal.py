"""A long measurement that was killed goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from benchmarks.journal import Journal


def never() -> None:
    raise AssertionError("measured again")


def test_what_was_measured_is_not_measured_again(tmp_path: Path):
    file = tmp_path / "new" / "some.jsonl"
    assert Journal(file, {"rounds": 3}).part("a", lambda: [1.5]) == [1.5]
    second = Journal(file, {"rounds": 3})
    assert second.part("a", never) == [1.5]
    assert second.part("b", lambda: {"x": None}) == {"x": None}
    assert Journal(file, {"rounds": 3}).part("b", never) == {"x": None}


def test_another_subject_begins_anew(tmp_path: Path):
    file = tmp_path / "some.jsonl"
    Journal(file, {"files": {"a.py": "1"}}).part("a", lambda: 1)
    assert Journal(file, {"files": {"a.py": "2"}}).part("a", lambda: 2) == 2
    assert Journal(file, {"files": {"a.py": "2"}}).part("a", never) == 2


def test_a_line_cut_off_by_a_kill_is_measured_again(tmp_path: Path):
    file = tmp_path / "some.jsonl"
    journal = Journal(file, {})
    journal.part("a", lambda: 1)
    journal.part("b", lambda: 2)
    file.write_text(file.read_text()[:-4])
    again = Journal(file, {})
    assert again.part("a", never) == 1
    assert again.part("b", lambda: 3) == 3
    assert Journal(file, {}).part("b", never) == 3


def test_a_finished_journal_is_gone(tmp_path: Path):
    file = tmp_path / "some.jsonl"
    Journal(file, {}).close()
    assert not file.exists()
