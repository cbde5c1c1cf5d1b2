"""The sentiment recipe: it can learn, and it is reproducible."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recipes import sentiment
from recipes.run import Run
from tests.sources import ROOT
from zoo import datasets
from zoo.environment import digest
from zoo.errors import ConfigError
from zoo.pipeline import Pipeline

TINY = sentiment.PRESETS["tiny"]


def small(count: int) -> datasets.Split:
    return datasets.split_examples(
        datasets.keyword_sentences(count, seed=3), datasets.Fractions(0.2, 0.2)
    )


def test_a_small_corpus_is_learned_by_heart(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, epochs=6, embedding_dropout=0.0, dropout=0.0)
    data = small(1000)
    pipeline = sentiment.build(config, data)
    with Run(tmp_path, "sentiment", {}) as run:
        trained = sentiment.train(config, data, pipeline, run)
        history = run.read_json("history.json")
    assert history[-1]["loss"] < 0.05
    assert trained["best_epoch"] == 1 + np.argmax([row["accuracy"] for row in history])
    answers = pipeline.predict({"text": np.array(data.train.texts, dtype=object)})
    assert [label.decode() for label in answers["label"]] == list(data.train.labels)


def test_the_signatures_are_those_of_the_pipeline(tiny_run: Path) -> None:
    assert set(Pipeline.load(tiny_run).endpoints()) == set(sentiment.SIGNATURES)


def test_the_same_configuration_builds_the_same_weights() -> None:
    first, second, other = (
        sentiment.build(dataclasses.replace(TINY, seed=seed), small(60)) for seed in (1, 1, 2)
    )
    values, again, different = (
        [np.asarray(value) for value in pipeline.model.variables]
        for pipeline in (first, second, other)
    )
    for value, expected in zip(again, values, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert any(not np.array_equal(*pair) for pair in zip(values, different, strict=True))


def test_every_row_lands_in_one_part_and_equal_texts_in_the_same() -> None:
    data = sentiment.load(TINY)
    owner: dict[str, set[str]] = {}
    for part, rows in data._asdict().items():
        for text in rows.texts:
            owner.setdefault(datasets.normalise(text), set()).add(part)
    assert Counter(map(len, owner.values())) == {1: len(owner)}


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("vocabulary", 299, "at least 300"),
        ("units", 0, "at least 1"),
        ("epochs", 0, "at least 1"),
        ("dropout", 1.0, "at least 0 and below 1"),
        ("word_dropout", float("nan"), "at least 0 and below 1"),
        ("learning_rate", 0.0, "above 0"),
        ("grading", -1.0, "at least 0"),
    ],
)
def test_a_field_out_of_range_names_its_rule(field: str, value: float, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be {rule}, not {value}"):
        dataclasses.replace(TINY, **{field: value})


def test_the_run_says_which_code_made_it(tiny_run: Path) -> None:
    sources = json.loads((tiny_run / "sources.json").read_text())
    used = {"recipes/sentiment.py", "zoo/models/sequence_classifier.py", "zoo/layers/recurrent.py"}
    assert used <= sources.keys()
    for file, sha256 in sources.items():
        assert digest(ROOT / file) == sha256
