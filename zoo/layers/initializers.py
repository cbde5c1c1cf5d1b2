"""Initial weights that decide how long a recurrent layer remembers before it has learnt."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError, UnknownNameError

GATES = {"gru": 3, "lstm": 4}
"""Number of gates whose biases stand side by side, by the name of the cell."""


@keras.saving.register_keras_serializable(package="seqzoo")
class ChronoBias(keras.initializers.Initializer):
    """Gate biases that spread the units' memories over all lags up to `max_lag`.

    A gate that keeps the share sigmoid(b) of the state at each step forgets with the time
    constant 1 / (1 - sigmoid(b)) = 1 + exp(b) steps. Drawing

        b_keep = log u,   u ~ uniform(1, T_max - 1)

    for each unit gives time constants spread evenly from 2 to T_max steps.

    Source: Tallec and Ollivier 2018, Can recurrent neural networks warp time?,
    arXiv:1804.11188, section 2 on the chrono initialization.

        cell    shape                    gates    values
        "lstm"  [4 units]                i,f,c,o  -b_keep, b_keep, 0, 0
        "gru"   [3 units], [2, 3 units]  z,r,h    b_keep, 0, 0; the second row is 0

    The layouts are those of Keras, where z multiplies the old state of a GRU and row 0 is
    the bias of the inputs. An LSTM needs `unit_forget_bias=False`, or Keras would set the
    bias of f itself.

    Args:
        max_lag: T_max, the longest dependence to be learnt, in time steps; at least 2.
        cell: "lstm" or "gru".
        seed: Seed of u; the same values at every call. None draws anew each time.

    Raises:
        ConfigError: max_lag is below 2, or the shape to be filled is no such bias.
        UnknownNameError: There is no such cell.
    """

    def __init__(self, max_lag: int, cell: str = "lstm", seed: int | None = None) -> None:
        if max_lag < 2:
            raise ConfigError(f"max_lag must be at least 2, not {max_lag}")
        if cell not in GATES:
            raise UnknownNameError("cell", cell, GATES)
        self.max_lag, self.cell, self.seed = max_lag, cell, seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return the bias of `shape`."""
        *rows, width = shape
        units, rest = divmod(width, GATES[self.cell])
        if rest or rows not in ([], [2]) or (rows and self.cell == "lstm"):
            raise ConfigError(f"a bias of shape {tuple(shape)} is not that of {self.cell} gates")
        lags = keras.random.uniform((units,), 1.0, self.max_lag - 1.0, dtype, self.seed)
        keep = ops.log(lags)
        zero = ops.zeros_like(keep)
        gates = [-keep, keep, zero, zero] if self.cell == "lstm" else [keep, zero, zero]
        bias = ops.concatenate(gates)
        return ops.stack([bias, ops.zeros_like(bias)]) if rows else bias

    def get_config(self) -> dict[str, Any]:
        return {"max_lag": self.max_lag, "cell": self.cell, "seed": self.seed}
