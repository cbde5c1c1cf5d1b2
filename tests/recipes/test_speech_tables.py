"""The speech recipe on recordings as people have them: broken, odd and few; and whole words."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes import speech as recipe
from recipes.__main__ import main
from recipes.listening import wav
from tests.recipes.searches import few_weights
from zoo.decoding import NGram

Captured = pytest.CaptureFixture[str]
RECORDINGS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty recordings of words of tones, and the table that lists them."""
    folder = tmp_path_factory.mktemp("mine")
    data = recipe.load(recipe.PRESETS["tiny"]).train
    lines = ["path\ttext"]
    for place in range(RECORDINGS):
        (folder / f"{place}.wav").write_bytes(wav(data.recordings[place]))
        lines.append(f"{place}.wav\t{data.texts[place]}")
    (folder / "table.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def damaged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a file that is cut off, and one of an unusual rate."""
    mine = tmp_path_factory.mktemp("damaged") / "mine"
    shutil.copytree(folder, mine)
    whole = (mine / "3.wav").read_bytes()
    (mine / "3.wav").write_bytes(whole[: len(whole) // 2])
    samples, _ = soundfile.read(mine / "5.wav")
    soundfile.write(mine / "5.wav", samples, 64_000)
    return mine


@pytest.fixture(scope="module")
def arpa(damaged: Path) -> tuple[Path, list[str]]:
    """A language model of two words, and of one that the texts cannot spell."""
    rows = (damaged / "table.tsv").read_text().splitlines()[1:]
    words = sorted({word for row in rows for word in row.split("\t")[1].split()})[:2]
    file = damaged / "model.arpa"
    NGram.estimate([words, [words[1], "Øre"]], 2).write_arpa(file)
    return file, words


@pytest.fixture(scope="module")
def trained(
    damaged: Path, arpa: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A run of a moment on what is left, with few hypotheses, and what it said on the way."""
    run, told = tmp_path_factory.mktemp("trained") / "run", io.StringIO()
    with contextlib.redirect_stderr(told), few_weights():
        train(damaged / "table.tsv", run, "--beam", "2", "--arpa", str(arpa[0]))
    return run, told.getvalue()


def train(table: Path, run: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Train for a moment, and return `metrics.json`."""
    told = ["speech", "train", "--preset", "tiny", "--data", str(table), "--epochs", "1"]
    assert main([*told, "--run-dir", str(run), *words]) == code
    return {} if code else json.loads((run / "metrics.json").read_text())


def test_a_recording_that_cannot_be_read_is_left_out_and_told(
    damaged: Path, trained: tuple[Path, str]
):
    run, told = trained
    assert f"left out: '{damaged}/3.wav' is cut off" in told
    assert f"left out: '{damaged}/5.wav' has 64000 samples per second, not 8000, " in told
    results = json.loads((run / "metrics.json").read_text())
    assert results["left_out"] == 2
    assert results["data"]["train"] + results["data"]["validation"] + results["data"]["test"] == 58


def test_too_many_of_them_end_the_run(damaged: Path, tmp_path: Path, capsys: Captured):
    mine = tmp_path / "mine"
    shutil.copytree(damaged, mine)
    for place in range(10, 14):
        (mine / f"{place}.wav").write_text("no sound at all")
    train(mine / "table.tsv", tmp_path / "no", code=2)
    told = capsys.readouterr().err
    assert "6 of 60 recordings cannot be used, more than 5%" in told
    assert "Traceback" not in told


def test_the_same_recordings_are_the_test_wherever_the_table_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    config = {"data": folder / "table.tsv"}
    monkeypatch.chdir(folder)
    found = [
        [Path(each.name).name for each in recipe.load(recipe.Config(**way)).test.recordings]
        for way in (config, {"data": Path("table.tsv")}, {"data": Path("../mine0/./table.tsv")})
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_words_are_said_as_wholes(folder: Path, tmp_path: Path, capsys: Captured):
    run = tmp_path / "run"
    words = ["--tokens", "words", "--search", "beam", "--epochs", "12", "--learning-rate", "0.02"]
    results = train(folder / "table.tsv", run, *words)
    assert set(results["test"]) >= {"greedy", "beam"} and "lexicon" not in results["test"]
    assert results["test"]["wer"] < 0.5
    capsys.readouterr()
    assert main(["speech", "predict", "--run-dir", str(run), str(folder / "0.wav")]) == 0
    answer = json.loads(capsys.readouterr().out)
    best = json.loads(answer["nbest"])[0]
    assert best["text"] == answer["text"] == " ".join(each["word"] for each in best["words"])
    known = set((folder / "table.tsv").read_text().split())
    assert answer["text"] and {*answer["text"].split()} <= known


def test_an_arpa_file_says_which_words_there_are(
    folder: Path,
    arpa: tuple[Path, list[str]],
    trained: tuple[Path, str],
    tmp_path: Path,
    capsys: Captured,
):
    run, told = trained
    assert told.count("1 of 3 words are left out") == 1
    results = json.loads((run / "metrics.json").read_text())
    assert results["test"]["lexicon"] == {k: results["test"][k] for k in ("wer", "cer")}
    files = [str(folder / f"{place}.wav") for place in range(8)]
    assert main(["speech", "predict", "--run-dir", str(run), *files]) == 0
    found = {w for line in capsys.readouterr().out.splitlines() for w in said(line)}
    assert found <= {*arpa[1]}
    file = tmp_path / "model.arpa"
    file.write_text("no model")
    train(folder / "table.tsv", tmp_path / "no", "--arpa", str(file), code=2)
    assert "model.arpa" in capsys.readouterr().err


def said(line: str) -> list[str]:
    return json.loads(line)["text"].split()


@pytest.mark.parametrize(
    ("change", "words", "reason"),
    [
        ("", ["--reduction", "40"], "recordings have fewer steps than their text takes"),
        ("<s> one </s>", [], "neither empty, <s> nor </s> nor hold spaces: '</s>'"),
    ],
)
def test_what_cannot_be_learned_is_told_before_the_training(
    folder: Path, tmp_path: Path, capsys: Captured, change: str, words: list[str], reason: str
):
    table = folder / "changed.tsv"
    text = (folder / "table.tsv").read_text()
    table.write_text(text + (f"0.wav\t{change}\n" * 20 if change else ""))
    train(table, tmp_path / "run", *words, code=2)
    told = capsys.readouterr()
    assert reason in told.err and "epoch" not in told.out


def test_few_hypotheses_list_as_few_sentences(trained: tuple[Path, str]):
    results = json.loads((trained[0] / "metrics.json").read_text())
    assert results["test"]["beam"]["wer"] >= 0


def test_odd_recordings_get_an_answer_or_a_reason(
    folder: Path, trained: tuple[Path, str], tmp_path: Path, capsys: Captured
):
    rate = recipe.PRESETS["tiny"].rate
    tone = 0.5 * np.sin(np.arange(rate) / 5)
    odd = {
        "silence": np.zeros(rate),
        "one": np.array([0.5]),
        "clipped": np.clip(9 * tone, -1, 1),
        "stereo": np.stack([tone, -tone], axis=1),
        "long": np.zeros(601 * rate),
        "none": np.zeros(0),
    }
    for name, samples in odd.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, rate)
    soundfile.write(tmp_path / "fast.wav", tone, 44_100)
    loud = np.full(rate, 1e30, np.float32)
    soundfile.write(tmp_path / "loud.wav", loud, rate, subtype="FLOAT")
    whole = (folder / "0.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    # What a program wrote that did not know the length yet.
    (tmp_path / "piped.wav").write_bytes(whole[:40] + struct.pack("<I", 0x7FFFF000) + whole[44:])
    (tmp_path / "text.wav").write_text("not a sound")
    capsys.readouterr()
    names = ["silence", "one", "clipped", "stereo", "fast", "piped"]
    reasons = {
        "long": "audio is longer than 30 seconds",
        "none": "audio holds no samples",
        "loud": "audio holds samples that are no numbers up to 1e+06 times full scale",
        "cut": "the WAV file is cut off",
        "text": "audio is not a WAV file",
    }
    files = [str(tmp_path / f"{name}.wav") for name in [*names, *reasons]]
    assert main(["speech", "predict", "--run-dir", str(trained[0]), *files]) == 2
    told = capsys.readouterr()
    answers = [json.loads(line) for line in told.out.splitlines()]
    assert [Path(answer["audio"]).stem for answer in answers] == names
    for name, reason in reasons.items():
        assert f"{tmp_path}/{name}.wav: {reason}\n" in told.err
    assert "Traceback" not in told.err
