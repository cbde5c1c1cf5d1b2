"""Ports: one declaration from which dummy batches, checks, specs and JSON derive."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zoo.errors import PortError
from zoo.ports import Port, Ports

TEXT = Port((), "string", "any text")
FRAMES = Port((None, 3), "float32", "frames, in dB")
COUNT = Port((), "int64", "number of frames")


@pytest.fixture
def ports() -> Ports:
    return Ports(text=TEXT, frames=FRAMES, count=COUNT)


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    return {
        "text": np.array([b"one", "zwölf".encode()], dtype=object),
        "frames": np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 7,
        "count": np.array([2, 1]),
    }


def test_a_port_is_written_as_shapes_are_written_everywhere():
    assert str(TEXT) == "string[batch]"
    assert str(FRAMES) == "float32[batch, any, 3]"
    assert repr(Ports(text=TEXT, count=COUNT)) == "Ports(text=string[batch], count=int64[batch])"


def test_a_string_port_has_no_further_axes():
    with pytest.raises(PortError, match=r"one string per row, not string\[batch, 2\]"):
        Port((2,), "string", "two texts")


def test_ports_keep_the_order_of_their_declaration(ports: Ports):
    assert list(ports) == ["text", "frames", "count"]
    assert len(ports) == 3
    assert ports["frames"] is FRAMES


def test_a_dummy_batch_is_neutral_and_fits(ports: Ports):
    dummy = ports.dummy(batch=2, free=5)
    assert dummy["text"].tolist() == [b"", b""]
    assert (dummy["frames"].shape, dummy["frames"].dtype) == ((2, 5, 3), np.float32)
    assert (dummy["count"].tolist(), dummy["count"].dtype) == ([0, 0], np.int64)
    ports.check(dummy)


def test_a_dummy_batch_has_one_row_unless_told_otherwise(ports: Ports):
    assert {name: value.shape for name, value in ports.dummy().items()} == {
        "text": (1,),
        "frames": (1, 1, 3),
        "count": (1,),
    }


def test_a_batch_that_fits_passes_unchanged(ports: Ports, batch: dict[str, np.ndarray]):
    checked = ports.check(batch)
    assert list(checked) == ["text", "frames", "count"]
    for name, value in batch.items():
        np.testing.assert_array_equal(checked[name], value)


def test_a_batch_of_no_rows_passes(ports: Ports):
    assert {len(value) for value in ports.check(ports.dummy(batch=0)).values()} == {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frame": 1},
            "unknown input 'frame'; did you mean 'frames'? (known: count, frames, text)",
        ),
        ({"count": None}, "input 'count' is missing: int64[batch] is required"),
        ({"text": "alone"}, "input 'text' must be string[batch], but has 0 axes []"),
        ({"text": [["a"], ["b"]]}, "input 'text' must be string[batch], but has 2 axes [2, 1]"),
        ({"text": [1, 2]}, "input 'text' must be string[batch], but holds int"),
        ({"text": ["a", None]}, "input 'text' must be string[batch], but holds NoneType"),
        (
            {"frames": np.zeros((2, 2), np.float32)},
            "input 'frames' must be float32[batch, any, 3], but has 2 axes [2, 2]",
        ),
        (
            {"frames": np.zeros((2, 2, 4), np.float32)},
            "input 'frames' must be float32[batch, any, 3], but has shape [2, 2, 4]",
        ),
        (
            {"frames": np.zeros((2, 2, 3))},
            "input 'frames' must be float32[batch, any, 3], but has dtype float64",
        ),
        ({"count": ["2", "1"]}, "input 'count' must be int64[batch], but has dtype <U1"),
        (
            {"count": np.array([1, 2, 3])},
            "all inputs must have the same batch size, but received "
            "{'text': 2, 'frames': 2, 'count': 3}",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_in_one_line(
    ports: Ports, batch: dict[str, np.ndarray], change: dict[str, object], message: str
):
    changed = {k: v for k, v in {**batch, **change}.items() if v is not None}
    with pytest.raises(PortError) as refused:
        ports.check(changed)
    assert str(refused.value) == message


def test_texts_become_bytes():
    received = Ports(text=TEXT).check({"text": ["é", b"\xff"]})["text"]
    assert received.tolist() == ["é".encode(), b"\xff"]


def test_bytes_keep_the_zeros_at_their_end():
    assert Ports(text=TEXT).check({"text": [b"wav\0\0", b""]})["text"].tolist() == [b"wav\0\0", b""]


def test_half_of_a_surrogate_pair_is_left_to_the_pipeline():
    assert Ports(text=TEXT).check({"text": ["\ud800"]})["text"].tolist() == [b"\xed\xa0\x80"]


def test_ports_survive_json(ports: Ports):
    rebuilt = Ports.from_json(json.loads(json.dumps(ports.to_json())))
    assert dict(rebuilt) == dict(ports)


def test_rows_survive_json(ports: Ports, batch: dict[str, np.ndarray]):
    batch["text"] = np.array([b"\xff\0", "é".encode()], dtype=object)
    rebuilt = ports.rows_from_json(json.loads(json.dumps(ports.rows_to_json(batch))))
    for name, value in batch.items():
        np.testing.assert_array_equal(rebuilt[name], value)
        assert rebuilt[name].dtype == value.dtype


def test_tensor_specs_leave_the_batch_axis_free(ports: Ports):
    import tensorflow as tf

    assert ports.tensor_specs() == {
        "text": tf.TensorSpec((None,), tf.string, name="text"),
        "frames": tf.TensorSpec((None, None, 3), tf.float32, name="frames"),
        "count": tf.TensorSpec((None,), tf.int64, name="count"),
    }
