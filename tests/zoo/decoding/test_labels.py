"""Class scores to label, probabilities and status."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from zoo.decoding import LabelDecoder, fit_temperature
from zoo.errors import ConfigError

LABELS = ["bad", "good", "mixed"]
LOGITS = np.array([[0.0, math.log(2), 0.0], [5.0, 1.0, 1.0]], np.float32)
GOOD = np.array([b"", b""], dtype=object)


def decode(
    logits: np.ndarray, status: np.ndarray = GOOD, temperature: float = 1.0
) -> dict[str, np.ndarray]:
    answer = LabelDecoder(LABELS, temperature)(tf.constant(logits), tf.constant(status, tf.string))
    return {name: value.numpy() for name, value in answer.items()}


def test_the_label_is_the_most_probable_class():
    answer = decode(LOGITS)
    assert answer["label"].tolist() == [b"good", b"bad"]
    np.testing.assert_allclose(answer["probabilities"][0], [0.25, 0.5, 0.25], rtol=1e-6)
    assert answer["status"].tolist() == [b"", b""]


@pytest.mark.parametrize("value", [5.0, np.nan, np.inf])
def test_a_bad_row_is_answered_neutrally(value: float):
    logits = np.array([[value, 0, 0], LOGITS[1]], np.float32)
    answer = decode(logits, np.array([b"text is empty", b""], dtype=object))
    assert answer["label"].tolist() == [b"", b"bad"]
    assert answer["status"].tolist() == [b"text is empty", b""]
    np.testing.assert_allclose(answer["probabilities"][0], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_array_equal(answer["probabilities"][1], decode(LOGITS)["probabilities"][1])


@pytest.mark.parametrize("temperature", [0.2, 3.0, 10.0])
def test_the_temperature_moves_the_probabilities_and_never_the_label(temperature: float):
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    status = np.full(50, b"", dtype=object)
    plain, moved = decode(logits, status), decode(logits, status, temperature)
    assert moved["label"].tolist() == plain["label"].tolist()
    np.testing.assert_allclose(
        moved["probabilities"], softmax(logits / temperature, axis=1), rtol=1e-4
    )


def test_bfloat16_scores_give_float32_probabilities():
    answer = LabelDecoder(LABELS)(tf.constant(LOGITS, tf.bfloat16), tf.constant(["", ""]))
    assert answer["probabilities"].dtype == tf.float32


def test_the_answer_fits_the_declared_ports():
    outputs = LabelDecoder(LABELS).outputs
    outputs.check(decode(LOGITS))
    assert {name: str(port) for name, port in outputs.items()} == {
        "label": "string[batch]",
        "probabilities": "float32[batch, 3]",
        "status": "string[batch]",
    }


def test_the_graph_gives_what_eager_execution_gives():
    decoder = LabelDecoder(LABELS, 2.0)
    status = tf.constant(["", "text is empty"])
    eager, traced = decoder(LOGITS, status), tf.function(decoder)(LOGITS, status)
    for name, value in eager.items():
        np.testing.assert_array_equal(value, traced[name])


def test_a_decoder_is_rebuilt_from_its_config(tmp_path: Path):
    decoder = LabelDecoder(["no", "ja ✓"], 1.7)
    decoder.save_assets(tmp_path)
    rebuilt = LabelDecoder.load(decoder.get_config(), tmp_path)
    assert (rebuilt.labels, rebuilt.temperature) == (("no", "ja ✓"), 1.7)


@pytest.mark.parametrize("labels", [[], ["only"], ["twice", "twice"]])
def test_fewer_than_two_different_labels_are_refused(labels: list[str]):
    with pytest.raises(ConfigError, match="labels must be two or more different names"):
        LabelDecoder(labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_0_is_refused(temperature: float):
    with pytest.raises(ConfigError, match=f"temperature must be above 0, not {temperature}"):
        LabelDecoder(LABELS, temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float):
    rng = np.random.default_rng(1)
    scores = rng.normal(scale=2, size=(20_000, 3))
    labels = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)  # drawn from their softmax
    assert fit_temperature(scores * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_stays_within_its_bounds():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(sure, np.array([0, 1])) == pytest.approx(0.1, rel=0.01)
    assert fit_temperature(sure, np.array([1, 0])) == pytest.approx(10.0, rel=0.01)
