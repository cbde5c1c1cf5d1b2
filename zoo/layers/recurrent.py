"""Recurrent layers by name."""

from __future__ import annotations

import keras

from zoo.errors import UnknownNameError

RECURRENT = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def recurrent(cell: str, units: int, **options: object) -> keras.layers.Layer:
    """Return the recurrent layer called `cell` ("lstm" or "gru").

    Args:
        cell: A key of `RECURRENT`.
        units: Size of the state.
        **options: Passed to the layer's constructor.

    Raises:
        UnknownNameError: There is no such layer.
    """
    if cell not in RECURRENT:
        raise UnknownNameError("recurrent layer", cell, RECURRENT)
    return RECURRENT[cell](units, **options)
