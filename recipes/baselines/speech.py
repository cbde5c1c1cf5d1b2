"""Trivial recognisers of speech."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from zoo import metrics
from zoo.datasets.speech import SpeechExamples

COEFFICIENTS = 13
"""Of the MFCCs whose mean stands for a recording."""

RATE = 8000
"""Samples per second of these MFCCs."""

MAX_SECONDS = 60.0
"""Of a recording that is listened to."""


@dataclass(frozen=True)
class SpeechBaseline:
    """What a baseline reaches on the test part.

    Attributes:
        transcripts: One text per row of the test part.
        wer, cer: Word and character error rate.
        seconds: Wall-clock time of fitting and answering.
        settings: What was chosen.
    """

    transcripts: tuple[str, ...]
    wer: float
    cer: float
    seconds: float
    settings: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, float]:
        """Return the numbers for `metrics.json`."""
        return {"wer": self.wer, "cer": self.cer, "seconds": self.seconds, **self.settings}


def frequent_words(train: SpeechExamples, test: SpeechExamples) -> SpeechBaseline:
    """Answer every recording with the most frequent words of the training part.

    How many, from 1 to the mean length of a sentence, is what gives the fewest errors there.
    """
    began = time.perf_counter()
    counts = Counter(word for text in train.texts for word in text.split())
    # Of equally frequent words the first in the alphabet.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    most = max(1, round(counts.total() / len(train)))
    candidates = [" ".join(ranked[:count]) for count in range(1, most + 1)]
    best = min(
        candidates, key=lambda text: metrics.word_error_rate(train.texts, [text] * len(train))
    )
    settings = {"words": float(len(best.split()))}
    return _measured((best,) * len(test), test, began, settings)


def nearest_centroid(train: SpeechExamples, test: SpeechExamples) -> SpeechBaseline:
    """Answer with the training sentence whose mean MFCC is nearest.

    A sentence that was said more than once has the mean of its recordings. Coefficients are
    scaled to equal variance.
    """
    began = time.perf_counter()
    heard = _mean_mfccs(train)
    sentences = sorted(set(train.texts))
    place = {text: number for number, text in enumerate(sentences)}
    member = np.array([place[text] for text in train.texts])
    centroids = np.stack([heard[member == number].mean(axis=0) for number in range(len(sentences))])
    scale = heard.std(axis=0) + 1e-6
    distances = np.linalg.norm((_mean_mfccs(test)[:, None] - centroids[None]) / scale, axis=-1)
    return _measured([sentences[index] for index in distances.argmin(axis=1)], test, began)


def _mean_mfccs(examples: SpeechExamples) -> np.ndarray:
    """Return `float32[rows, coefficients]`."""
    import tensorflow as tf

    from zoo import preprocessing

    encoder = preprocessing.SpeechEncoder(
        RATE,
        "mfcc",
        bins=26,
        coefficients=COEFFICIENTS,
        normalisation="none",
        max_seconds=MAX_SECONDS,
    )

    @tf.function(reduce_retracing=True)  # one graph for all lengths, of each rate
    def mean(samples: tf.Tensor, rate: int) -> tf.Tensor:
        sound = preprocessing.resample(samples, rate, RATE)
        features, _ = encoder.encode(sound[None], tf.shape(sound))
        return tf.reduce_mean(features[0], axis=0)

    rows = []
    for recording in examples.recordings:
        samples, rate = recording.read()
        rows.append(mean(samples[: round(MAX_SECONDS * rate)], rate).numpy())
    return np.stack(rows)


def _measured(
    transcripts: Iterable[str],
    test: SpeechExamples,
    began: float,
    settings: dict[str, float] | None = None,
) -> SpeechBaseline:
    """Score a baseline; its clock stops here, before the scoring."""
    seconds = time.perf_counter() - began
    texts = tuple(transcripts)
    return SpeechBaseline(
        texts,
        metrics.word_error_rate(test.texts, texts),
        metrics.character_error_rate(test.texts, texts),
        seconds,
        settings or {},
    )
