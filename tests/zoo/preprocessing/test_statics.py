"""Categories and numbers of a series become what a forecaster reads; the unknown is neutral."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, DataError
from zoo.preprocessing import SeriesEncoder, Statics, fit_statics, static_columns, static_rows

COLUMNS = {"region": ("north", "south", "north", ""), "size": ("1", "3", "", "5")}


def statics() -> Statics:
    return Statics(fit_statics(COLUMNS))


def encode(**raw: Any) -> np.ndarray:
    return statics()({name: tf.constant(values) for name, values in raw.items()}).numpy()


def test_text_becomes_categories_and_numbers_mean_and_deviation():
    fitted = fit_statics(COLUMNS)
    assert fitted["region"] == {"north": pytest.approx(2 / 3), "south": pytest.approx(1 / 3)}
    assert fitted["size"] == pytest.approx([3, np.std([1, 3, 5])])
    again = Statics(json.loads(json.dumps(statics().to_json())))
    assert again.to_json() == statics().to_json()


def test_the_mean_over_the_series_is_0_and_so_is_what_is_unknown():
    found = encode(
        static_region=["north", "south", "north", "west", ""],
        static_size=np.array([1, 3, 5, np.nan, np.inf], np.float32),
    )
    assert found.shape == (5, statics().size) == (5, 3)
    np.testing.assert_allclose(found[0, :2], [1 / 3, -1 / 3], rtol=1e-6)
    np.testing.assert_allclose(found[:3].sum(axis=0), 0, atol=1e-6)
    np.testing.assert_array_equal(found[3:], np.zeros((2, 3)))


def test_each_is_an_input_of_its_own():
    ports = statics().ports
    assert {name: port.dtype for name, port in ports.items()} == {
        "static_region": "string",
        "static_size": "float32",
    }
    assert static_columns(ports) == ("region", "size")
    rows = static_rows(ports, COLUMNS, "mine.csv")
    assert rows["static_region"].tolist() == [b"north", b"south", b"north", b""]
    np.testing.assert_array_equal(rows["static_size"], [1, 3, np.nan, 5])
    with pytest.raises(DataError, match="mine.csv: static 'size' must be a number or empty, not"):
        static_rows(ports, {**COLUMNS, "size": ("big",) * 4}, "mine.csv")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"kind": ("", "")}, "static 'kind' is empty for every series"),
        ({"the kind": ("a", "b")}, "statics must be of letters, digits and _, not 'the kind'"),
        ({"id": tuple(f"s{n}" for n in range(1001))}, "1001 categories, and at most 1000"),
    ],
)
def test_what_cannot_be_learned_from_is_told(columns: Any, reason: str):
    with pytest.raises((ConfigError, DataError), match=reason):
        fit_statics(columns)


def test_the_encoder_tells_them_to_every_channel(tmp_path: Any):
    options: Any = {"base": "last", "calendar": ("day",), "statics": fit_statics(COLUMNS)}
    encoder = SeriesEncoder(2, 4, usual={"a": 1.0, "b": 2.0}, **options)
    rows = encoder.inputs.check(encoder.probe_rows())
    found = encoder(rows)
    assert found["static"].shape == (2 * len(rows["length"]), encoder.known)
    assert encoder.known == 2 + 3 + 2 * 2
    # Channel, statics, and at the end what is known of the steps to come.
    static = found["static"].numpy()
    np.testing.assert_array_equal(static[::2, 2:5], static[1::2, 2:5])
    np.testing.assert_allclose(static[0, 2:4], [1 / 3, -1 / 3], rtol=1e-6)
    assert np.isfinite(static).all()
    again = SeriesEncoder.load(json.loads(json.dumps(encoder.get_config())), tmp_path)
    for name, values in encoder(rows).items():
        np.testing.assert_array_equal(again(rows)[name].numpy(), values.numpy())
    assert encoder.entrances(None, None) == {}
