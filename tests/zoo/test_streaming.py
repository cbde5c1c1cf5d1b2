"""Streams: what travels with the calls, shown on parts that can be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.streaming import NOT_FINITE, Packing, Stream


class Pairs:
    """An encoder whose frames are the sums of two samples."""

    def initial_state(self, batch: Any) -> dict[str, Any]:
        return {"left": tf.zeros([batch]), "held": tf.zeros([batch], tf.int32)}

    def step(self, samples: Any, length: Any, state: dict[str, Any]) -> tuple[Any, Any, Any]:
        rows = [
            np.r_[left[:held], row[:n]]
            for left, held, row, n in zip(
                state["left"].numpy()[:, None],
                state["held"].numpy(),
                samples.numpy(),
                np.asarray(length),
                strict=True,
            )
        ]
        counts = np.array([len(row) // 2 for row in rows], np.int32)
        frames = np.zeros((len(rows), max(counts), 1), np.float32)
        for frame, row, count in zip(frames, rows, counts, strict=True):
            frame[:count, 0] = row[: 2 * count].reshape(-1, 2).sum(axis=1)
        held = np.array([len(row) % 2 for row in rows], np.int32)
        left = np.array([row[-1] if odd else 0 for row, odd in zip(rows, held, strict=True)])
        state = {"left": tf.constant(left, tf.float32), "held": tf.constant(held)}
        return tf.constant(frames), tf.constant(counts), state

    def end(self, state: dict[str, Any]) -> tuple[Any, Any]:
        return state["left"][:, None, None], state["held"]


class RunningSum:
    """A model whose logits are the sum of all frames so far."""

    reduction = 1

    def initial_state(self, batch: Any) -> list[Any]:
        return [tf.zeros([batch, 1])]

    def step(self, features: Any, lengths: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        sums = state[0][:, None] + tf.cumsum(features, axis=1)
        padded = tf.concat([state[0][:, None], sums], axis=1)
        return sums, [tf.gather(padded, lengths, batch_dims=1)]


class Written:
    """A decoder that writes every number down."""

    def initial_state(self, batch: Any) -> dict[str, Any]:
        return {"count": tf.zeros([batch], tf.int32)}

    def step(self, logits: Any, steps: Any, text: Any, state: Any) -> tuple[Any, Any]:
        after = [
            before + b"".join(b"%d " % value for value in row[:n, 0])
            for before, row, n in zip(text.numpy(), logits.numpy(), steps.numpy(), strict=True)
        ]
        return tf.constant(after), {"count": state["count"] + steps}


def test_tensors_survive_being_packed():
    tensors = {
        "a": tf.constant([[1.5, -2.0], [0.0, 3e38]]),
        "b": tf.constant([7, 2**24 - 1]),
        "c": tf.reshape(tf.range(12.0), [2, 2, 3]),
    }
    packing = Packing({name: value[:1] for name, value in tensors.items()})
    packed = packing.pack(tensors)
    assert packed.shape == (2, packing.size) == (2, 9)
    for name, value in packing.unpack(packed).items():
        assert value.dtype == tensors[name].dtype
        np.testing.assert_array_equal(value, tensors[name])


@pytest.fixture
def stream() -> Stream:
    return Stream(Pairs(), RunningSum(), Written(), rate=8000)


def heard(stream: Stream, *chunks: list[list[float]]) -> list[str]:
    """Return the texts of streams that are given these chunks, a list per row."""
    answer = stream.start({"stream": tf.constant([""] * len(chunks[0]))})
    for chunk in chunks:
        longest = max(map(len, chunk))
        samples = np.array([row + [9.0] * (longest - len(row)) for row in chunk], np.float32)
        length = tf.constant([len(row) for row in chunk])
        after = {name: answer[name] for name in ("state", "text")}
        answer = stream.step({"samples": tf.constant(samples), "length": length, **after})
    end = stream.end({name: answer[name] for name in ("state", "text")})
    return [text.decode() for text in end["text"].numpy()]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_chunks_give_the_same_text(stream: Stream, size: int):
    samples = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    chunks = [[samples[start : start + size]] for start in range(0, 7, size)]
    assert heard(stream, *chunks) == ["3 10 21 28 "]


def test_rows_at_other_places_of_their_streams_share_calls(stream: Stream):
    together = heard(stream, [[1.0], [1.0, 2.0, 3.0]], [[2.0, 3.0, 4.0], []], [[], [4.0]])
    assert together == ["3 10 ", "3 10 "]


def test_numbers_that_are_not_finite_are_left_out(stream: Stream):
    start = stream.start({"stream": tf.constant(["", ""])})
    assert start["rate"].numpy().tolist() == [8000, 8000]
    answer = stream.step(
        {
            "samples": tf.constant([[1.0, np.nan], [1.0, 2.0]]),
            "length": tf.constant([2, 2]),
            "state": start["state"],
            "text": start["text"],
        }
    )
    assert answer["status"].numpy().tolist() == [NOT_FINITE.encode(), b""]
    assert answer["text"].numpy().tolist() == [b"", b"3 "]
    np.testing.assert_array_equal(answer["state"][0], start["state"][0])


def test_the_ports_of_what_goes_on_are_those_of_what_came_out(stream: Stream):
    start, step, end = stream.endpoints().values()
    for name in ("state", "text"):
        ports = {start.outputs[name], step.inputs[name], step.outputs[name], end.inputs[name]}
        assert len(ports) == 1
    assert start.outputs["state"].shape == (4,)


def test_a_length_beyond_the_chunk_is_that_of_the_chunk(stream: Stream):
    start = stream.start({"stream": tf.constant(["", ""])})
    after = {name: start[name] for name in ("state", "text")}
    samples = tf.constant([[1.0, 2.0], [1.0, 2.0]])
    answer = stream.step({"samples": samples, "length": tf.constant([99, -1]), **after})
    assert answer["text"].numpy().tolist() == [b"3 ", b""]
