"""What to watch while a recurrent model trains with `fit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError


class GradientPerLag(keras.callbacks.Callback):
    """How much of the gradient survives k time steps of a recurrent layer.

    With x_t `float32[features]` the layer's own inputs and h_T `float32[units]` its output
    at the last real step T of a row, it takes

        n_k^2 = mean over rows of |d (v . h_T) / d x_{T-k}|^2,   v ~ normal(0, 1)

    for the lags k = 0, 1, 2, 4, 8, ... over the rows with more than k real steps, each with
    a v of its own. The expected value of one such square is that of the Frobenius norm of
    d h_T / d x_{T-k}, and one backward pass gives it for all k. Where n_k falls towards 0 as
    k grows, gradients vanish and no dependence over k steps is learnt; where n_k grows, they
    explode. v depends on the seed alone, so that epochs can be compared. Dropout is off.

    A lag counts real steps: those of the mask that the layer receives, all if there is
    none. Of a `keras.layers.Bidirectional` the forward layer is measured.

    TensorBoard shows the scalars as `gradient_per_lag/<layer>/lag_0016`, by epoch from 1.

    Source: Pascanu et al. 2013, On the difficulty of training recurrent neural networks,
    arXiv:1211.5063, section 2, for d h_T / d h_{T-k}, which d h_T / d x_{T-k} contains.

    Args:
        batch: Inputs of a functional model, as it takes them: `[batch, time, ...]`.
        layer: Name of the recurrent layer among the layers of the model. It reads its
            inputs forwards, and is called on them alone.
        log_dir: Folder of the event file.
        every: Measure at the end of every so many epochs.
        seed: Seed of v.

    Attributes:
        norms: n_k by k, of the last epoch that was measured.

    Raises:
        UnknownNameError: The model has no layer of that name.
        ConfigError: `every` is below 1; the layer reads its inputs backwards, or takes an
            initial state besides them.
    """

    def __init__(
        self, batch: Any, layer: str, log_dir: str | Path, every: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        if every < 1:
            raise ConfigError(f"every must be at least 1, not {every}")
        self.batch = keras.tree.map_structure(tf.convert_to_tensor, batch)
        self.layer, self.log_dir, self.every, self.seed = layer, Path(log_dir), every, seed
        self.norms: dict[int, float] = {}

    def set_model(self, model: keras.Model) -> None:
        """Find the layer, and the part of the model in front of it."""
        super().set_model(model)
        layers = {layer.name: layer for layer in model.layers}
        if self.layer not in layers:
            raise UnknownNameError("layer", self.layer, layers)
        layer = layers[self.layer]
        # A mask counts among what a layer takes.
        inputs, *others = keras.tree.flatten(layer.input)
        if any(other.dtype != "bool" for other in others):
            raise ConfigError(f"layer '{self.layer}' must take no initial state, but is given one")
        recurrent = getattr(layer, "forward_layer", layer)
        if getattr(recurrent, "go_backwards", False):
            raise ConfigError(f"layer '{self.layer}' must read forwards, but has go_backwards=True")
        front = keras.Model(model.input, [inputs, *others])
        self._measure = tf.function(lambda: _gradients(front, recurrent, self.batch, self.seed))

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the event file."""
        self._writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, and write the scalars."""
        if (epoch + 1) % self.every:
            return
        square, lag = (part.numpy() for part in self._measure())
        self.norms = {k: float(square[lag == k].mean() ** 0.5) for k in _lags(lag.max())}
        with self._writer.as_default(step=epoch + 1):
            for k, value in self.norms.items():
                tf.summary.scalar(f"gradient_per_lag/{self.layer}/lag_{k:04d}", value)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the event file."""
        self._writer.close()


def _gradients(front: keras.Model, layer: keras.layers.Layer, batch: Any, seed: int) -> Any:
    """Return the square of the gradient `float64[batch, time]` and the lag `int32[batch, time]`.

    The lag of a padded step is -1.
    """
    inputs, *masks = keras.tree.flatten(front(batch, training=False))
    mask = masks[0] if masks else None
    real = tf.ones(tf.shape(inputs)[:2], "bool") if mask is None else mask
    steps = tf.cast(real, "int32")
    lag = tf.where(real, tf.cumsum(steps, axis=1, exclusive=True, reverse=True), -1)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = keras.tree.flatten(layer(inputs, mask=mask, training=False))[0]
        if outputs.shape.rank == 3:
            last = tf.argmax(lag == 0, axis=1)
            outputs = tf.gather(outputs, last, batch_dims=1)
        v = tf.random.stateless_normal(tf.shape(outputs), [seed, 0], dtype=outputs.dtype)
        projected = tf.reduce_sum(v * outputs)
    # Squares of what has all but vanished are 0 in float32.
    gradient = tf.cast(tape.gradient(projected, inputs), "float64")
    return tf.reduce_sum(gradient**2, axis=-1), lag


def _lags(longest: int) -> Iterator[int]:
    """Yield 0, 1, 2, 4, 8, ... up to the longest."""
    k = 0
    while k <= longest:
        yield k
        k = max(1, 2 * k)
