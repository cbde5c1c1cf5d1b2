"""The transcriber: text, times, lists, streams, and what it is rebuilt from."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import NGram, Transcriber
from zoo.errors import ConfigError, UnknownNameError

ALPHABET = 'ab "\\'
SENTENCES = [["a", "ab"], ["ab"], ["b", "a", "ab"]]


@functools.cache
def make(search: str, **options: Any) -> Transcriber:
    if search == "lexicon":
        options |= {"words": ["a", "ab", "b"], "model": NGram.estimate(SENTENCES, 2)}
    return Transcriber(ALPHABET, search, **{"beam": 8, "nbest": 3, "step_seconds": 0.5, **options})


def logits(*texts: str, certainty: float = 0.9) -> np.ndarray:
    """Return logits that spell each text a character per step; "_" is a blank."""
    longest, classes = max(map(len, texts)), len(ALPHABET) + 1
    rest = (1 - certainty) / (classes - 1)
    values = np.full((len(texts), longest, classes), np.log(rest), np.float32)
    for row, text in zip(values, texts, strict=True):
        for step, character in enumerate(text.ljust(longest, "_")):
            row[step, ALPHABET.find(character) + 1] = np.log(certainty)
    return values


def answer(transcriber: Transcriber, values: Any, status: list[str] | None = None) -> Any:
    """Return the answers as NumPy arrays."""
    given = traced(transcriber)(tf.constant(values), tf.constant(status or [""] * len(values)))
    return {name: value.numpy() for name, value in given.items()}


@functools.cache
def traced(transcriber: Transcriber) -> Any:
    """Return what a transcriber does as a graph for any size."""
    specs = [tf.TensorSpec([None, None, len(ALPHABET) + 1]), tf.TensorSpec([None], tf.string)]
    return tf.function(transcriber.__call__, input_signature=specs)


@pytest.mark.parametrize("search", ["greedy", "beam", "lexicon"])
class TestEverySearch:
    def test_it_reads_what_is_spelled(self, search: str):
        given = answer(make(search), logits("aa_ _ab", "b", "___"))
        assert given["text"].tolist() == [b"a ab", b"b", b""]
        assert ((0 < given["confidence"]) & (given["confidence"] <= 1)).all()

    def test_a_row_that_was_refused_has_no_text(self, search: str):
        given = answer(make(search), logits("ab", "ab"), ["", "broken"])
        assert given["text"].tolist() == [b"ab", b""]
        assert given["nbest"][1] == b"[]"
        assert given["confidence"][1] == 0
        assert given["status"].tolist() == [b"", b"broken"]

    def test_words_have_their_times(self, search: str):
        (best, *_) = json.loads(answer(make(search), logits("_aa_ _ab_"))["nbest"][0])
        assert best["text"] == "a ab"
        first, second = best["words"]
        assert (first["word"], first["start"], first["end"]) == ("a", 0.5, 0.5)
        assert (second["word"], second["start"], second["end"]) == ("ab", 3.0, 3.5)
        assert first["confidence"] == second["confidence"] == pytest.approx(0.9, abs=1e-3)

    def test_company_changes_nothing(self, search: str):
        values = logits("a ab_b", "ab", "", certainty=0.6)
        together = answer(make(search), values)
        for row in range(3):
            alone = answer(make(search), values[row : row + 1])
            assert alone["text"][0] == together["text"][row]
            assert alone["confidence"][0] == pytest.approx(together["confidence"][row], abs=1e-6)

    @pytest.mark.parametrize("text", ["", "a", "a b"])
    def test_steps_that_say_blank_with_certainty_change_nothing(self, search: str, text: str):
        values = logits(text or "_", certainty=0.6)
        silence = np.full((1, 40, len(ALPHABET) + 1), -1e4, np.float32)
        silence[:, :, 0] = 0
        expected = answer(make(search), values)
        given = answer(make(search), np.concatenate([values, silence], axis=1))
        ours, theirs = (json.loads(each["nbest"][0]) for each in (given, expected))
        assert [entry["text"] for entry in ours] == [entry["text"] for entry in theirs]
        scores = [entry["score"] for entry in theirs]
        assert [entry["score"] for entry in ours] == pytest.approx(scores, abs=1e-5)
        assert given["confidence"] == pytest.approx(expected["confidence"], abs=1e-6)

    def test_it_is_rebuilt_from_its_files(self, search: str, tmp_path: Path):
        transcriber = make(search, lm_weight=0.5, word_bonus=0.25)
        transcriber.save_assets(tmp_path)
        config = json.loads(json.dumps(transcriber.get_config()))
        values = logits("a ab", "ba", certainty=0.5)
        expected, given = (
            answer(each, values) for each in (transcriber, Transcriber.load(config, tmp_path))
        )
        for name in expected:
            np.testing.assert_array_equal(given[name], expected[name])

    def test_a_saved_model_answers_the_same(self, search: str, tmp_path: Path):
        transcriber = make(search)
        specs = [tf.TensorSpec([None, None, 6], name="x"), tf.TensorSpec([None], tf.string, "s")]
        serve = tf.function(transcriber.__call__, input_signature=specs)
        tf.saved_model.save(transcriber, str(tmp_path), {"serving_default": serve})
        values = logits("a ab", "_ba_", certainty=0.5)
        loaded = tf.saved_model.load(str(tmp_path))
        given = loaded.signatures["serving_default"](x=tf.constant(values), s=tf.constant(["", ""]))
        for name, expected in answer(transcriber, values).items():
            np.testing.assert_array_equal(given[name].numpy(), expected)


def test_the_list_is_ordered_and_its_json_survives_quotes():
    given = answer(make("beam", nbest=5), logits('a" \\b', certainty=0.5))
    entries = json.loads(given["nbest"][0])
    assert entries[0]["text"] == 'a" \\b'
    assert [word["word"] for word in entries[0]["words"]] == ['a"', "\\b"]
    scores = [entry["score"] for entry in entries]
    assert len(entries) == 5
    assert scores == sorted(scores, reverse=True)
    shares = np.exp(np.array(scores) - scores[0])
    assert given["confidence"][0] == pytest.approx(1 / shares.sum(), abs=1e-3)


@pytest.mark.parametrize("chunk", [1, 2, 3, 20])
def test_a_stream_reads_what_the_whole_reads(chunk: int):
    transcriber = make("greedy")
    rows = ["_aa_a  b_ _a", "__ab", "  a_ _b"]
    values = logits(*rows)
    text, state = tf.constant([""] * 3), transcriber.initial_state(3)
    for start in range(0, values.shape[1], chunk):
        steps = np.clip([len(row) - start for row in rows], 0, chunk)
        part = tf.constant(values[:, start : start + chunk])
        steps = tf.constant(np.minimum(steps, part.shape[1]), tf.int32)
        text, state = transcriber.step(part, steps, text, state)
    assert text.numpy().tolist() == answer(transcriber, values)["text"].tolist()
    assert text.numpy().tolist() == [b"aa b a", b"ab", b"a b"]


def test_what_does_not_go_together_is_refused():
    with pytest.raises(UnknownNameError, match="unknown search 'beem'.*'beam'"):
        Transcriber("ab", "beem")
    with pytest.raises(ConfigError, match="received 0 words, no model and search='lexicon'"):
        Transcriber("ab ", "lexicon")
    with pytest.raises(ConfigError, match="received 1 words, no model and search='beam'"):
        Transcriber("ab ", "beam", words=["a"])
    with pytest.raises(ConfigError, match="streams need search='greedy', not 'beam'"):
        make("beam").initial_state(1)
