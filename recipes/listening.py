"""Recordings through a speech pipeline: in training batch by batch, in a test one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.training import scorer
from zoo import decoding, layers, preprocessing
from zoo.datasets import speech
from zoo.pipeline import Pipeline, Prepare
from zoo.sound import encode_wav

AT_ONCE = 32
"""Recordings whose features are computed together."""

USUAL = 500
"""Recordings that say what is usual."""

SILENT = 1e-6
"""Characters per recording where all of a batch are silent, so that a loss can divide by it."""


class Listener:
    """What the model makes of a part of the data.

    Args:
        pipeline: Its `prepare` gives the features, and its model, as it is when asked, the
            logits.
        examples: The part.
        batch_size: Recordings per batch.
    """

    def __init__(
        self, pipeline: Pipeline, examples: speech.SpeechExamples, batch_size: int
    ) -> None:
        self.truth = examples.texts
        self._batches = preprocessing.BucketedBatches(
            features(pipeline.prepare, examples), batch_size
        )
        self._score = scorer(pipeline.model, "features", "lengths")

    def logits(self) -> list[Any]:
        """Return `float32[batch, steps, classes]` of each batch."""
        rows = self._batches
        return [self._score(rows.pad(each), rows.steps(each)) for each in rows.in_order()]

    def texts(self, parts: Sequence[Any]) -> list[str]:
        """Return `string[batch]` of each batch as texts in the order of the rows."""
        texts = [""] * len(self.truth)
        for batch, part in zip(self._batches.in_order(), parts, strict=True):
            for row, text in zip(batch.rows, part.numpy(), strict=True):
                texts[row] = text.decode()
        return texts

    def transcripts(self, finish: decoding.Transcriber) -> list[str]:
        """Return what a search finds."""
        search = decoding.compiled_search(finish)
        weights = finish.lm_weight, finish.word_bonus
        return self.texts([search(logits, *weights) for logits in self.logits()])

    def weights(
        self, finish: decoding.Transcriber, error: Callable[[Sequence[str], Sequence[str]], float]
    ) -> tuple[float, float]:
        """Return the weight of the language model and the bonus of a word with the least error."""
        return decoding.fit_weights(
            finish, self.logits(), lambda parts: error(self.truth, self.texts(parts))
        )


def characters_per_row(targets: dict[str, Any], weights: Any) -> Any:
    """Return how many characters the recordings of a batch have on average.

    Args:
        targets: `label_lengths: int32[batch]` and others.
        weights: `float32[batch]`, 0 for rows that do not count.
    """
    lengths = tf.cast(targets["label_lengths"], tf.float32)
    return tf.maximum(layers.masked_mean(lengths, weights), SILENT)


def characters(features: Any, targets: dict[str, Any], weights: Any) -> Any:
    """Return how many characters a batch has: what nats per character divide by."""
    return characters_per_row(targets, weights) * tf.reduce_sum(weights)


def features(encoder: Prepare, examples: speech.SpeechExamples) -> list[np.ndarray]:
    """Return `float32[frames, bins]` of each row, by the very `prepare` that is served."""
    prepare = tf.function(encoder, input_signature=[encoder.inputs.tensor_specs()])
    rows = []
    for start in range(0, len(examples), AT_ONCE):
        recordings = examples.recordings[start : start + AT_ONCE]
        prepared = prepare({"audio": tf.constant([wav(each) for each in recordings])})
        lengths = prepared["lengths"].numpy()
        rows += [
            frames[:length].copy()
            for frames, length in zip(prepared["features"].numpy(), lengths, strict=True)
        ]
    return rows


def with_usual_scale(
    encoder: preprocessing.SpeechEncoder, train: speech.SpeechExamples
) -> preprocessing.SpeechEncoder:
    """Return an encoder whose running normalisation begins with the scale of the training part."""
    config = encoder.get_config()
    plain = preprocessing.SpeechEncoder(**{**config, "normalisation": "none"})
    frames = np.concatenate(features(plain, train.select(range(min(len(train), USUAL)))))
    usual = frames.mean(axis=0).tolist(), (frames.std(axis=0) + 1e-3).tolist()
    return preprocessing.SpeechEncoder(**{**config, "usual": usual})


def answers(
    pipeline: Pipeline, examples: speech.SpeechExamples
) -> tuple[dict[str, np.ndarray], float]:
    """Return the answers to each recording alone, and seconds per second of sound."""
    rows = np.array([wav(recording) for recording in examples.recordings], dtype=object)
    pipeline.predict({"audio": rows[:1]})  # the first call builds the graph
    began = time.perf_counter()
    found = pipeline.predict({"audio": rows}, batch_size=1)
    spent = time.perf_counter() - began
    sounds = (recording.read() for recording in examples.recordings)
    return found, spent / sum(len(samples) / rate for samples, rate in sounds)


def wav(recording: speech.Recording) -> bytes:
    """Return a recording as the WAV file that a client would send."""
    return encode_wav(*recording.read())
