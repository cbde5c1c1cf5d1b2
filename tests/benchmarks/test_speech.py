"""The benchmark of speech hears the same as its peer, and keeps to its documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import speech


def test_made_up_sentences_have_as_many_words_as_said():
    words = {word for text in speech.sentences() for word in text.split()}
    assert len(speech.sentences()) == speech.SENTENCES
    assert len(words) <= speech.WORDS


def test_without_its_peer_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speech.importlib.util, "find_spec", lambda name: None)
    assert speech.main(["--json", str(tmp_path / "report.json")]) == 2
    assert "pip install -r requirements-bench.txt" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_way_is_measured_beside_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.speech", "--json", str(report), "--quick"]
    # In a process of its own, since it keeps to one core for good.
    subprocess.run(command, check=True)
    record = json.loads(report.read_text(encoding="utf-8"))
    ways = {"torch greedy", "seqzoo greedy", "seqzoo beam", "seqzoo lexicon"}
    assert all(set(row["milliseconds"]) == ways for row in record["offline"].values())
    assert set(record["summary"]) == set(record["bars"]) == set(speech.BARS)
