"""Recordings through a speech pipeline: in training batch by batch, in a test one by one."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.training import scorer
from zoo import decoding, layers, metrics, preprocessing
from zoo.datasets import speech
from zoo.decoding.ngram import END, START, UNKNOWN
from zoo.errors import ConfigError, DataError
from zoo.pipeline import Pipeline, Prepare
from zoo.sound import encode_wav

AT_ONCE = 32
"""Recordings whose features are computed together."""

USUAL = 500
"""Recordings that say what is usual."""

MARKS = (START, END, UNKNOWN)
"""Words of a language model that nobody says."""

NBEST = 5
"""Sentences that are listed, if the beam is that wide."""

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
        self._compiled = functools.cache(decoding.compiled_search)

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
        search = self._compiled(finish)
        weights = finish.lm_weight, finish.word_bonus
        return self.texts([search(logits, *weights) for logits in self.logits()])

    def weights(
        self, finish: decoding.Transcriber, error: Callable[[Sequence[str], Sequence[str]], Any]
    ) -> tuple[float, float]:
        """Return the weight of the language model and the bonus of a word with the least error."""
        return decoding.fit_weights(
            finish, self.logits(), lambda parts: error(self.truth, self.texts(parts))
        )


def language(
    config: Any, train: speech.SpeechExamples, alphabet: str
) -> tuple[list[str], decoding.NGram]:
    """Return the words that a search may find, and their n-gram model.

    Those of the recipe's `arpa` file that the alphabet can spell, or those of the training texts.

    Raises:
        DataError: There are none, or a text holds what no model can.
    """
    if config.arpa is None:
        sentences = [text.split() for text in train.texts]
        words = sorted({word for sentence in sentences for word in sentence})
        return words, decoding.NGram.estimate(sentences, config.order)
    model = decoding.NGram.read_arpa(config.arpa)
    words = [word for word in model.words if word not in MARKS and set(word) <= set(alphabet)]
    if not words:
        raise DataError(f"{config.arpa}: the training texts can spell none of its words")
    return words, model


def check_language(config: Any, train: speech.SpeechExamples, alphabet: str) -> None:
    """Raise now what `language` would raise after the training, and tell what it leaves out."""
    words, model = language(config, train, alphabet)
    if left_out := {*model.words} - {*MARKS, *words}:
        print(
            f"note: {config.arpa}: {len(left_out)} of {len(left_out) + len(words)} words are left "
            "out, for the training texts do not have all of their characters",
            file=sys.stderr,
        )


def transcriber(
    config: Any, data: speech.SpeechSplit, pipeline: Pipeline, search: str
) -> decoding.Transcriber:
    """Return a search; that for words has the weights that are best on the validation part."""
    finish: Any = pipeline.finish
    options = {**finish.get_config(), "search": search, "beam": config.beam}
    options["nbest"] = min(NBEST, config.beam)
    if search != "lexicon":
        return decoding.Transcriber(**options)
    options["words"], options["model"] = language(config, data.train, finish.alphabet)
    listener = Listener(pipeline, data.validation, config.batch_size)

    def errors(truth: Sequence[str], found: Sequence[str]) -> tuple[float, float]:
        return metrics.word_error_rate(truth, found), metrics.character_error_rate(truth, found)

    weights = listener.weights(decoding.Transcriber(**options), errors)
    return decoding.Transcriber(**{**options, "lm_weight": weights[0], "word_bonus": weights[1]})


def check_steps(targets: Mapping[str, np.ndarray], reduction: int) -> None:
    """Refuse recordings that are too short for what is said in them: CTC learns nothing from them.

    Args:
        targets: `labels`, `label_lengths` and `frames`, a row per recording.
        reduction: Frames per step of the model.

    Raises:
        ConfigError: More than 5 % are.
    """
    labels, lengths = targets["labels"], targets["label_lengths"]
    # Between two equal tokens stands a blank.
    twice = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)).sum(axis=1)
    few = int((-(-targets["frames"] // reduction) < lengths + twice).sum())
    if few > speech.BAD_SHARE * len(lengths):
        raise ConfigError(
            f"{few} of {len(lengths)} recordings have fewer steps than their text takes, of "
            f"reduction {reduction} frames each: lower it, or see whether the texts are right"
        )
    if few:
        print(
            f"note: {few} of {len(lengths)} recordings are too short for their text",
            file=sys.stderr,
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
    """Return `float32[frames, bins]` of each row, by the very `prepare` that is served.

    Raises:
        DataError: It refuses a recording.
    """
    prepare = tf.function(encoder, input_signature=[encoder.inputs.tensor_specs()])
    rows = []
    for start in range(0, len(examples), AT_ONCE):
        recordings = examples.recordings[start : start + AT_ONCE]
        prepared = prepare({"audio": tf.constant([wav(each) for each in recordings])})
        for recording, status in zip(recordings, prepared["status"].numpy(), strict=True):
            if status:
                raise DataError(f"'{recording.name}' cannot be used: {status.decode()}")
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
