"""Recurrent layers are found by name."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import UnknownNameError
from zoo.layers import RECURRENT
from zoo.layers.recurrent import recurrent


@pytest.mark.parametrize("cell", RECURRENT)
def test_a_layer_of_the_table_has_the_asked_size_and_options(cell: str):
    layer = recurrent(cell, 3, return_sequences=True, name="reader")
    assert type(layer) is RECURRENT[cell]
    assert layer.name == "reader"
    assert layer(np.zeros((2, 5, 4), np.float32)).shape == (2, 5, 3)


def test_a_name_outside_the_table_is_refused():
    with pytest.raises(UnknownNameError) as refused:
        recurrent("lsmt", 3)
    assert str(refused.value) == (
        "unknown recurrent layer 'lsmt'; did you mean 'lstm'? (known: gru, lstm)"
    )
