"""The command line as a user meets it: what it prints, writes and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recipes.__main__ import main
from recipes.headline import Headline


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused as misuse, and return its one line."""
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def table(folder: Path, rows: list[tuple[str, str]], name: str = "own.csv") -> str:
    """Write a CSV file with the columns text and label and return its path."""
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


ROWS = [(f"a {word} film number {n}", word) for n in range(40) for word in ("good", "bad", "odd")]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_recipe_the_recipes_and_commands_are_listed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    for word in ("sentiment", "train", "evaluate", "predict", "export"):
        assert word in printed


def test_a_recipe_alone_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sentiment"]) == 0
    assert "raw text in, label and calibrated probabilities out" in capsys.readouterr().out


def test_training_writes_the_metrics_that_are_promised(tiny_run: Path) -> None:
    results = json.loads((tiny_run / "metrics.json").read_text())
    assert 0 <= results["test"]["accuracy"] <= 1
    assert 0 <= results["test"]["f1_macro"] <= 1
    assert 0 <= results["baselines"]["nb_svm"]["accuracy"] <= 1
    assert results["seconds"] > results["train_seconds"]
    for name in ("train_seconds", "examples_per_second", "parameters"):
        assert results[name] > 0
    sizes = [results["data"][part] for part in ("train", "validation", "test")]
    assert sum(sizes) == 1200


def test_word_order_is_learned_where_the_linear_baseline_cannot(tiny_run: Path) -> None:
    results = json.loads((tiny_run / "metrics.json").read_text())
    assert results["test"]["accuracy"] > 0.95
    assert results["test"]["accuracy"] > results["baselines"]["nb_svm"]["accuracy"] + 0.05


@pytest.mark.parametrize(
    "name",
    ["config.json", "environment.json", "history.json", "model.keras", "checkpoint.npz"]
    + ["pipeline/pipeline.json", "pipeline/prepare/vocabulary.txt", "index.html"],
)
def test_the_run_folder_is_complete(tiny_run: Path, name: str) -> None:
    assert (tiny_run / name).stat().st_size > 0


def test_the_same_command_on_a_finished_run_repeats_the_result(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tiny_run / "model.keras").read_bytes()
    assert main(["sentiment", "train", "--preset", "tiny", "--run-dir", str(tiny_run)]) == 0
    printed = capsys.readouterr().out
    assert "is finished" in printed
    assert "test accuracy: " in printed
    assert "nb_svm: " in printed
    assert (tiny_run / "model.keras").read_bytes() == before


def test_evaluate_finds_the_recorded_score_again(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["sentiment", "evaluate", "--run-dir", str(tiny_run)]) == 0
    again = json.loads(capsys.readouterr().out)
    recorded = json.loads((tiny_run / "metrics.json").read_text())["test"]
    for name, value in recorded.items():
        assert again[name] == pytest.approx(value, abs=1e-6)


def test_predict_answers_good_rows_and_names_the_others(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["sentiment", "predict", "--run-dir", str(tiny_run), "a wonderful film", ""]) == 2
    told = capsys.readouterr()
    good = json.loads(told.out)
    assert good["text"] == "a wonderful film"
    assert good["label"] in ("negative", "positive")
    assert sum(good["probabilities"]) == pytest.approx(1, abs=1e-6)
    assert good["status"] == ""
    assert told.err == "error: row 2: text is empty\n"


def test_own_data_with_three_classes_trains_from_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["sentiment", "train", "--preset", "tiny", "--epochs", "2", "--run-dir", str(run)]
    assert main([*words, "--data", table(tmp_path, ROWS)]) == 0
    pipeline = json.loads((run / "pipeline" / "pipeline.json").read_text())
    assert pipeline["finish"]["config"]["labels"] == ["bad", "good", "odd"]
    assert pipeline["outputs"]["probabilities"]["shape"] == [3]


def test_misuse_is_refused_in_one_line_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train = ("sentiment", "train", "--preset", "tiny", "--run-dir", str(run))
    one_class = table(tmp_path, [(text, "good") for text, _ in ROWS], "one.csv")
    own = table(tmp_path, ROWS)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.csv").write_bytes(b"text,label\n\xff\xfe,good\n")
    cases = {
        ("sentimant", "train"): "unknown recipe 'sentimant'; did you mean 'sentiment'?",
        ("sentiment", "trian"): "unknown command 'trian'; did you mean 'train'?",
        (*train, "--unitz", "3"): "unknown option '--unitz'; did you mean '--units'?",
        (*train, "--dataset", "imbd"): "unknown data set 'imbd'; did you mean 'imdb'?",
        (*train, "--data", own, "--text-column", "txt"): "did you mean 'text'?",
        (*train, "--data", own, "--label-column", "lable"): "did you mean 'label'?",
        (*train, "--data", one_class): "'good'",
        (*train, "--data", str(tmp_path / "empty.csv")): "empty",
        (*train, "--data", str(tmp_path / "broken.csv")): "line 2",
        (*train, "--data", str(tmp_path / "owm.csv")): "did you mean 'own.csv'?",
        (*train, "--preset", "tinny"): "unknown preset 'tinny'; did you mean 'tiny'?",
        (*train, "--pooling", "maximum"): "unknown pooling 'maximum'",
        ("sentiment", "predict", "--run-dir", str(run), "text"): "is not a run folder",
        ("sentiment", "export", "--run-dir", str(run)): "is not a run folder",
    }
    for words, message in cases.items():
        assert message in refused(capsys, *words), words
        assert not run.exists(), words


def test_a_label_that_only_the_test_part_has_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["train"] * 60 + ["validation"] * 30 + ["test"] * 30
    lines = [f"{text},{label},{part}" for (text, label), part in zip(ROWS, parts, strict=True)]
    lines += [f"strange film {n},strange,test" for n in range(9)]
    file = tmp_path / "split.csv"
    file.write_text("text,label,split\n" + "\n".join(lines) + "\n")
    message = refused(capsys, "sentiment", "train", "--preset", "tiny", "--data", str(file))
    assert "strange" in message
    assert "test" in message


def test_a_run_of_another_configuration_is_not_overwritten(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("sentiment", "train", "--preset", "tiny", "--units", "9", "--run-dir", str(tiny_run))
    assert "was started with units=16, not 9" in refused(capsys, *words)


def test_an_unfinished_run_is_neither_exported_nor_asked(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    shutil.copytree(tiny_run, half)
    (half / "metrics.json").unlink()
    for command in ("export", "predict", "evaluate"):
        words = ("sentiment", command, "--run-dir", str(half))
        words += ("text",) if command == "predict" else ()
        assert "is not finished: call train on it again" in refused(capsys, *words)


def test_no_network_names_the_file_and_where_to_put_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQZOO_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    run = tmp_path / "run"
    message = refused(capsys, "sentiment", "train", "--run-dir", str(run))
    assert "vaderSentiment-3.3.2.tar.gz" in message
    assert "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9" in message
    assert str(tmp_path / "cache") in message
    assert not run.exists()
    assert not [entry for entry in (tmp_path / "cache").rglob("*") if entry.is_file()]


def test_the_probabilities_are_those_of_the_saved_model(tiny_run: Path) -> None:
    import keras

    from zoo.pipeline import Pipeline

    pipeline = Pipeline.load(tiny_run)
    model = keras.saving.load_model(tiny_run / "model.keras", compile=False)
    texts = np.array(["a wonderful film", "not a good one"], dtype=object)
    logits = np.asarray(model({"tokens": pipeline.prepare({"text": texts})["tokens"]}))
    scaled = np.exp(logits / pipeline.finish.temperature)
    expected = scaled / scaled.sum(axis=1, keepdims=True)
    answer = pipeline.predict({"text": texts})
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_a_headline_knows_which_way_is_better() -> None:
    accuracy, errors = Headline("accuracy"), Headline("wer", lower_is_better=True)
    assert accuracy.is_better(0.9, 0.8) and not accuracy.is_better(0.8, 0.8)
    assert errors.is_better(0.1, 0.2) and not errors.is_better(0.2, 0.2)
