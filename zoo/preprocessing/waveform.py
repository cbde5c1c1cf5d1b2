"""WAV files to samples, inside the graph: decoding, mixing down, resampling.

What is wrong with a file is the status of its row; no content of a row raises.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.sound import RATES, UNKNOWN_LENGTHS

"""Samples per second that a file may have."""

EMPTY = "audio is empty"
NO_WAV = "audio is not a WAV file"
NO_HEADER = "the header of the WAV file is broken or cut off"
NO_ENCODING = "the WAV file is encoded otherwise than as PCM or float"
NO_RATE = "the WAV file's samples per second are none of " + ", ".join(map(str, RATES))
CUT_OFF = "the WAV file is cut off"
NO_SAMPLES = "audio holds no samples"
_LOUDEST = 1e6
NOT_FINITE = f"audio holds samples that are no numbers up to {_LOUDEST:g} times full scale"


def too_long(seconds: float) -> str:
    """Return the status of audio that is longer than so many seconds."""
    return f"audio is longer than {seconds:g} seconds"


PREEMPHASIS = 0.97

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 65534
_MOST_CHUNKS = 64
_HEADER = 64
"""Zeros behind the file, so that a field that is not there can be read."""

_ZEROS, _BETA, _EDGE = 32, 9.0, 0.94
"""The resampling filter: zero crossings on a side, Kaiser's beta, where half is left."""


class Waveforms(NamedTuple):
    """Decoded rows.

    Attributes:
        samples: `float32[batch, time]` from -1 to 1, right-padded with 0, time at least 1.
        lengths: `int32[batch]`; 0 for a bad row.
        status: `string[batch]`, '' for a good row.
    """

    samples: Any
    lengths: Any
    status: Any


def decode_wav(contents: Any, rate: int, max_seconds: float) -> Waveforms:
    """Decode WAV files, mix their channels and resample them.

    PCM of 8, 16, 24 and 32 bits, float of 32 and 64 bits, any number of channels, plain or
    extensible headers, any chunks before the sound.
    Source: IBM and Microsoft 1991, Multimedia Programming Interface and Data Specifications.

    Args:
        contents: `string[batch]`, the files' bytes.
        rate: Samples per second of the result.
        max_seconds: Longer files get a status.
    """
    samples, status = tf.map_fn(
        lambda row: _decode(row, rate, max_seconds),
        contents,
        fn_output_signature=(
            tf.RaggedTensorSpec([None], tf.float32, ragged_rank=0),
            tf.TensorSpec([], tf.string),
        ),
    )
    lengths = tf.cast(samples.row_lengths(), tf.int32)
    padded = samples.to_tensor(0.0)
    padded = tf.pad(padded, [[0, 0], [0, tf.cast(tf.shape(padded)[1] == 0, tf.int32)]])
    return Waveforms(padded, lengths, status)


def check_samples(samples: Any, length: Any, rate: int, max_seconds: float) -> Waveforms:
    """Return rows of samples with a status each; a bad row has the length 0.

    Args:
        samples: `float32[batch, time]`.
        length: `int32[batch]`, how many of a row are real; more than there are is all of them.
        rate: Samples per second.
        max_seconds: Longer rows get a status.
    """
    length = tf.clip_by_value(length, 0, tf.shape(samples)[1])
    real = tf.sequence_mask(length, tf.shape(samples)[1])
    finite = tf.reduce_all((tf.abs(samples) <= _LOUDEST) | ~real, axis=1)
    status = _first(
        (length < 1, NO_SAMPLES),
        (~finite, NOT_FINITE),
        (length > round(max_seconds * rate), too_long(max_seconds)),
    )
    good = tf.broadcast_to(status, tf.shape(length)) == ""
    # The length is that of the longest good row, so that a bad one costs nobody time.
    length = tf.where(good, length, 0)
    longest = tf.maximum(tf.reduce_max(tf.concat([length, [1]], axis=0)), 1)
    kept = tf.where(real & good[:, None], samples, 0.0)
    kept = tf.pad(kept, [[0, 0], [0, tf.cast(tf.shape(kept)[1] == 0, tf.int32)]])
    return Waveforms(kept[:, :longest], length, status)


class _Format(NamedTuple):
    """What a header says; scalars `int64`."""

    tag: Any
    channels: Any
    rate: Any
    bits: Any
    """Of one sample of one channel."""
    start: Any
    """Where the sound begins in the file; -1 if nothing says so."""
    length: Any
    """Bytes of sound that were announced."""


def _decode(contents: Any, rate: int, max_seconds: float) -> tuple[Any, Any]:
    """Return the samples and the status of one file."""
    content = tf.io.decode_raw(contents, tf.uint8)
    size = tf.size(content, tf.int64)
    padded = tf.pad(content, [[0, _HEADER]])
    header = _header(padded, size)
    encodings = [(_PCM, bits) for bits in (8, 16, 24, 32)] + [(_FLOAT, bits) for bits in (32, 64)]
    encoding = _place([(header.tag == tag) & (header.bits == bits) for tag, bits in encodings])
    known = _place([header.rate == each for each in RATES])
    there = size - header.start
    announced = tf.where(_is_any(header.length, UNKNOWN_LENGTHS), there, header.length)
    width = header.channels * header.bits // 8
    frames = announced // tf.maximum(width, 1)
    status = _first(
        (size == 0, EMPTY),
        (_text(padded, 0) != "RIFF", NO_WAV),
        (_text(padded, 8) != "WAVE", NO_WAV),
        ((header.start < 0) | (header.channels < 1), NO_HEADER),
        (encoding < 0, NO_ENCODING),
        (known < 0, NO_RATE),
        (announced > there, CUT_OFF),
        (frames < 1, NO_SAMPLES),
        (_seconds(frames, header.rate) > max_seconds, too_long(max_seconds)),
    )

    def samples() -> Any:
        sound = content[header.start : header.start + frames * width]
        mono = tf.reduce_mean(
            tf.reshape(_numbers(sound, encoding), [frames, header.channels]), axis=1
        )
        mono = mono[: tf.where(tf.reduce_all(tf.abs(mono) <= _LOUDEST), frames, 0)]
        return tf.switch_case(known, [lambda r=r: resample(mono, r, rate) for r in RATES])

    found = tf.cond(status == "", samples, lambda: tf.zeros([0]))
    return found, tf.where((status == "") & (tf.size(found) == 0), NOT_FINITE, status)


def _header(content: Any, size: Any) -> _Format:
    """Find the format and the sound; `content` ends in `_HEADER` zeros."""

    def more(at: Any, form: Any, sound: Any, count: Any) -> Any:
        return (at + 8 <= size) & (sound < 0) & (count < _MOST_CHUNKS)

    def chunk(at: Any, form: Any, sound: Any, count: Any) -> tuple[Any, ...]:
        name = _text(content, at)
        form = tf.where(name == "fmt ", at + 8, form)
        sound = tf.where(name == "data", at + 8, sound)
        length = _integer(content, at + 4, 4)
        # A chunk of odd length is followed by one byte that belongs to none.
        return at + 8 + length + length % 2, form, sound, count + 1

    none = tf.constant(-1, tf.int64)
    _, form, sound, _ = tf.while_loop(more, chunk, (tf.constant(12, tf.int64), none, none, 0))
    at = tf.maximum(form, 0)
    tag = _integer(content, at, 2)
    return _Format(
        tag=tf.where(tag == _EXTENSIBLE, _integer(content, at + 24, 2), tag),
        channels=_integer(content, at + 2, 2),
        rate=_integer(content, at + 4, 4),
        bits=_integer(content, at + 14, 2),
        start=tf.where((form >= 0) & (form + 16 <= size), sound, -1),
        length=_integer(content, tf.maximum(sound, 4) - 4, 4),
    )


def _integer(content: Any, at: Any, width: int) -> Any:
    """Return an unsigned little-endian integer as `int64`."""
    parts = tf.cast(content[at : at + width], tf.int64)
    return tf.reduce_sum(parts * tf.constant([256**place for place in range(width)], tf.int64))


def _text(content: Any, at: Any) -> Any:
    """Return four bytes as a string."""
    return tf.strings.reduce_join(tf.gather(_BYTES, tf.cast(content[at : at + 4], tf.int32)))


_BYTES = [bytes([value]) for value in range(256)]


def _numbers(sound: Any, encoding: Any) -> Any:
    """Return bytes as numbers from -1 to 1; the encodings are those of `_decode`."""

    def integers(width: int, kind: Any) -> Any:
        values = tf.bitcast(tf.reshape(sound, [-1, width]), kind)
        return tf.cast(values, tf.float32) / 2.0 ** (8 * width - 1)

    def three() -> Any:
        # The lowest byte of 32 bits is 0.
        values = tf.pad(tf.reshape(sound, [-1, 3]), [[0, 0], [1, 0]])
        return tf.cast(tf.bitcast(values, tf.int32), tf.float32) / 2.0**31

    def floats(width: int, kind: Any) -> Any:
        return tf.cast(tf.bitcast(tf.reshape(sound, [-1, width]), kind), tf.float32)

    return tf.switch_case(
        encoding,
        [
            lambda: (tf.cast(sound, tf.float32) - 128.0) / 128.0,
            lambda: integers(2, tf.int16),
            three,
            lambda: integers(4, tf.int32),
            lambda: floats(4, tf.float32),
            lambda: floats(8, tf.float64),
        ],
    )


def _place(conditions: list[Any]) -> Any:
    """Return the place of the condition that holds, `int32`; -1 if none does."""
    held = tf.stack(conditions)
    return tf.where(tf.reduce_any(held), tf.argmax(held, output_type=tf.int32), -1)


def _first(*reasons: tuple[Any, str]) -> Any:
    """Return the text of the first condition that holds, or ''."""
    status = tf.constant("")
    for holds, reason in reversed(reasons):
        status = tf.where(holds, reason, status)
    return status


def _is_any(value: Any, known: tuple[int, ...]) -> Any:
    return tf.reduce_any(value == tf.constant(known, tf.int64))


def _seconds(frames: Any, rate: Any) -> Any:
    return tf.cast(frames, tf.float64) / tf.cast(tf.maximum(rate, 1), tf.float64)


def emphasise(samples: Any, lengths: Any, last: Any = 0.0) -> Any:
    """Return x[t] - 0.97 x[t - 1], which lifts high frequencies; 0 behind each row's length.

    Args:
        samples: `float32[batch, time]`.
        lengths: `int32[batch]`.
        last: `float32[batch]`, the samples before the first ones.
    """
    before = tf.broadcast_to(last, tf.shape(lengths))[:, None]
    before = tf.concat([before, samples[:, :-1]], axis=1)[:, : tf.shape(samples)[1]]
    real = tf.sequence_mask(lengths, tf.shape(samples)[1])
    return tf.where(real, samples - PREEMPHASIS * before, 0.0)


def resample(samples: Any, from_rate: int, to_rate: int) -> Any:
    """Change the number of samples per second.

    A windowed sinc, evaluated for a block of outputs at a time: one product of a constant
    matrix with the inputs around each block. Flat to 0.1 % up to 0.85 of the smaller half rate,
    and gone above it.
    Source: Crochiere and Rabiner 1983, Multirate Digital Signal Processing, chapter 4.

    Args:
        samples: `float32[time]`.
        from_rate, to_rate: Samples per second.

    Returns:
        `float32[ceil(time * to_rate / from_rate)]`; output n stands at input n * from / to.
    """
    if from_rate == to_rate:
        return samples
    step, block, reach, weights = _filter(from_rate, to_rate)
    time = tf.size(samples)
    wanted = -(-tf.cast(time, tf.int64) * block // step)
    padded = tf.pad(samples, [[reach, reach + step]])
    frames = tf.signal.frame(padded, step + 2 * reach, step)
    return tf.reshape(tf.matmul(frames, weights), [-1])[:wanted]


@cache
def _filter(from_rate: int, to_rate: int) -> tuple[int, int, int, np.ndarray]:
    """Return inputs and outputs of a block, inputs around it, and the matrix between them."""
    common = math.gcd(from_rate, to_rate)
    step, block = from_rate // common, to_rate // common
    # Blocks that are long beside what overlaps.
    times = max(1, 256 // step)
    step, block = step * times, block * times
    cutoff = _EDGE * min(1.0, to_rate / from_rate)
    reach = math.ceil(_ZEROS / cutoff)
    place = np.arange(block) * step / block - (np.arange(step + 2 * reach)[:, None] - reach)
    inside = np.clip(1 - (place * cutoff / _ZEROS) ** 2, 0, None)
    weights = np.sinc(place * cutoff) * np.i0(_BETA * np.sqrt(inside)) * (inside > 0)
    return step, block, reach, (weights / weights.sum(axis=0)).astype(np.float32)
