"""Class scores to an answer with a name, inside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from zoo.errors import ConfigError
from zoo.ports import Port, Ports


class LabelDecoder(tf.Module):
    """Logits to label and calibrated probabilities.

    Takes `logits: float32[batch, classes]` and `status: string[batch]`. Gives `label`,
    `probabilities` and `status`. A row whose status is not '' has the label '' and equal
    probabilities.

    Args:
        labels: The class names, in the order of the logits.
        temperature: Divisor of the logits, from `fit_temperature`. It moves the
            probabilities, never the label.
    """

    def __init__(self, labels: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__()
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise ConfigError(f"labels must be two or more different names, not {list(labels)}")
        if not temperature > 0:
            raise ConfigError(f"temperature must be above 0, not {temperature}")
        # A tuple, since tf.Module wraps lists for tracking.
        self.labels = tuple(labels)
        self.temperature = float(temperature)

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        return Ports(
            label=Port((), "string", f"the most probable of {', '.join(self.labels)}"),
            probabilities=Port(
                (len(self.labels),), "float32", f"of {', '.join(self.labels)}, in this order"
            ),
            status=Port((), "string", "'' if the row was understood, else the reason"),
        )

    def __call__(self, logits: Any, status: Any) -> dict[str, Any]:
        good = tf.equal(status, "")
        logits = tf.where(good[:, None], tf.cast(logits, tf.float32), 0.0)
        names = tf.gather(tf.constant(self.labels), tf.argmax(logits, axis=-1))
        return {
            "label": tf.where(good, names, ""),
            "probabilities": tf.nn.softmax(logits / self.temperature),
            "status": status,
        }

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this decoder, as JSON values."""
        return {"labels": list(self.labels), "temperature": self.temperature}

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> LabelDecoder:
        """Rebuild from `get_config`."""
        return cls(**config)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that makes held-out probabilities most likely.

    Source: Guo et al. 2017, arXiv:1706.04599.

    Args:
        logits: `float32[rows, classes]` of rows that were not trained on.
        labels: `int[rows]`.

    Returns:
        A divisor of the logits between 0.1 and 10.
    """

    def cost(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=-1)
        return -float(np.mean(scores[np.arange(len(labels)), labels]))

    bounds = (np.log(0.1), np.log(10.0))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))
