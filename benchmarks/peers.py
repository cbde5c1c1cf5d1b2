"""One recurrent layer in SeqZoo, Keras, PyTorch and ONNX Runtime, with the same weights.

Every function here returns calls without arguments that wait for their own result.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo import layers

Call = Callable[[], Any]
CORES = os.cpu_count() or 1
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}


@dataclass(frozen=True)
class Case:
    """What is measured: a layer that gives its outputs at all steps.

    Attributes:
        cell: "LSTM" or "GRU".
        batch: Rows.
        time: Steps.
        features: Of an input step.
        units: Of the state, per direction.
        dtype: Of the arithmetic, "float32" or "bfloat16"; weights are float32.
        directions: 1 or 2.
        masked: Whether rows have between half and all of the steps.
    """

    cell: str
    batch: int
    time: int
    features: int
    units: int
    dtype: str = "float32"
    directions: int = 1
    masked: bool = False

    def __str__(self) -> str:
        shape = f"{self.batch}x{self.time}x{self.features}x{self.units}"
        more = [f"{self.directions} directions"] * (self.directions > 1) + ["mask"] * self.masked
        return " ".join([self.cell, shape, self.dtype, *more])

    @property
    def gates(self) -> int:
        """Blocks of `units` columns in the kernels."""
        return 4 if self.cell == "LSTM" else 3

    def batch_of_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `float32[batch, time, features]` and the number of real steps of each row."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.batch, self.time, self.features)).astype(np.float32)
        lengths = rng.integers(self.time // 2, self.time + 1, self.batch)
        lengths[0] = self.time
        return x, lengths if self.masked else np.full(self.batch, self.time)


class Layer:
    """The layer of SeqZoo or Keras as compiled functions of one fixed shape."""

    def __init__(self, case: Case, family: Any, weights: list[np.ndarray] | None = None) -> None:
        options: dict[str, Any] = {"return_sequences": True}
        options["dtype"] = "mixed_bfloat16" if case.dtype == "bfloat16" else "float32"
        layer = getattr(family, case.cell)(case.units, **options)
        if case.directions == 2:
            layer = keras.layers.Bidirectional(layer, dtype=options["dtype"])
        layer.build((case.batch, case.time, case.features))
        if weights:
            layer.set_weights(weights)
        x, lengths = case.batch_of_inputs()
        self.layer, self.case = layer, case
        self.x = tf.constant(x)
        self.mask = tf.sequence_mask(lengths, case.time) if case.masked else None

    @property
    def weights(self) -> list[np.ndarray]:
        """Weights in the order of `keras.layers.Layer.get_weights`."""
        return self.layer.get_weights()

    def training(self, jit_compile: bool = False) -> Call:
        """Return a training step: mean square of the outputs, gradients of weights and inputs."""
        weights = [weight.value for weight in self.layer.trainable_weights]

        @tf.function(jit_compile=jit_compile, autograph=False)
        def step(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = self.layer(x, mask=self.mask, training=True)
                loss = tf.reduce_mean(tf.square(tf.cast(y, tf.float32)))
            return loss, tape.gradient(loss, [x, *weights])

        return lambda: step(self.x)[1][-1].numpy()

    def inference(self, jit_compile: bool = False) -> Call:
        """Return a function that gives the outputs, called in Python."""

        @tf.function(jit_compile=jit_compile, autograph=False)
        def infer(x: Any) -> Any:
            return self.layer(x, mask=self.mask, training=False)

        return lambda: _numpy(infer(self.x))

    def exported(self) -> Call:
        """Return the signature of an exported SavedModel, batch and time free."""
        case = self.case
        specs = [tf.TensorSpec((None, None, case.features), tf.float32, name="x")]
        inputs = {"x": self.x}
        if self.mask is not None:
            specs.append(tf.TensorSpec((None, None), tf.bool, name="mask"))
            inputs["mask"] = self.mask
        with tempfile.TemporaryDirectory() as folder:
            archive = keras.export.ExportArchive()
            archive.track(self.layer)
            archive.add_endpoint("serve", lambda x, mask=None: self.layer(x, mask=mask), specs)
            archive.write_out(folder, verbose=False)
            loaded = tf.saved_model.load(folder)
        signature = loaded.signatures["serve"]
        # The signature dies with the object it came from.
        return lambda loaded=loaded: _numpy(next(iter(signature(**inputs).values())))


def _numpy(tensor: Any) -> np.ndarray:
    return tf.cast(tensor, tf.float32).numpy()


def matmul(case: Case) -> Call:
    """Return one matrix product with the floating point operations of a forward pass."""
    dtype = tf.as_dtype(case.dtype)
    depth, width = case.features + case.units, case.gates * case.units * case.directions
    a = tf.cast(tf.random.normal([case.batch * case.time, depth]), dtype)
    b = tf.cast(tf.random.normal([depth, width]), dtype)
    product = tf.function(lambda: tf.matmul(a, b)[0, 0], autograph=False)
    return lambda: product().numpy()


class Torch:
    """The layer of PyTorch, eager, as it is used."""

    def __init__(self, case: Case, weights: list[np.ndarray]) -> None:
        import torch

        torch.set_num_threads(CORES)
        self.torch, self.case = torch, case
        dtype = getattr(torch, case.dtype)
        self.layer = getattr(torch.nn, case.cell)(
            case.features, case.units, batch_first=True, bidirectional=case.directions == 2
        )
        each = len(weights) // case.directions
        with torch.no_grad():
            for direction in range(case.directions):
                kernels = torch_weights(
                    case.cell, weights[direction * each : (direction + 1) * each]
                )
                for name, values in kernels.items():
                    suffix = "_reverse" if direction else ""
                    getattr(self.layer, f"{name}_l0{suffix}").copy_(torch.tensor(values))
        self.layer.to(dtype)
        x, self.lengths = case.batch_of_inputs()
        self.x = torch.tensor(x).to(dtype)

    def _forward(self, x: Any) -> Any:
        if not self.case.masked:
            return self.layer(x)[0]
        rnn = self.torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0]

    def training(self) -> Call:
        """Return a training step as `Layer.training` has it."""
        x = self.x.clone().requires_grad_(True)

        def step() -> None:
            x.grad = None
            self.layer.zero_grad()
            self._forward(x).float().square().mean().backward()

        return step

    def inference(self) -> Call:
        """Return a function that gives the outputs."""

        def infer() -> np.ndarray:
            with self.torch.inference_mode():
                return self._forward(self.x).float().numpy()

        return infer


def torch_weights(cell: str, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return Keras' weights as PyTorch has them: transposed, for a GRU gates r, z, n."""
    order = [0, 1, 2, 3] if cell == "LSTM" else [1, 0, 2]
    kernel, recurrent_kernel, bias = (_ordered(each, order) for each in weights)
    two = bias if cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
    return {
        "weight_ih": kernel.T,
        "weight_hh": recurrent_kernel.T,
        "bias_ih": two[0],
        "bias_hh": two[1],
    }


def _ordered(weight: np.ndarray, order: list[int]) -> np.ndarray:
    parts = np.split(weight, len(order), axis=-1)
    return np.concatenate([parts[k] for k in order], axis=-1)


def onnx(case: Case, weights: list[np.ndarray]) -> Call:
    """Return the layer as ONNX Runtime runs it, one direction, float32, no mask."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    order = [0, 3, 1, 2] if case.cell == "LSTM" else [0, 1, 2]
    kernel, recurrent_kernel, bias = (_ordered(each, order) for each in weights)
    two = bias if case.cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
    values = {"W": kernel.T[None], "R": recurrent_kernel.T[None], "B": two.reshape(1, -1)}
    attributes: dict[str, Any] = {"hidden_size": case.units}
    if case.cell == "GRU":
        attributes["linear_before_reset"] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
            helper.make_node(case.cell, ["steps", *values], ["y"], **attributes),
            helper.make_node("Squeeze", ["y", "axes"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["out"], perm=[1, 0, 2]),
        ],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, case.features])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, None, case.units])],
        [
            numpy_helper.from_array(np.ascontiguousarray(each), name)
            for name, each in {**values, "axes": np.array([1])}.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x, _ = case.batch_of_inputs()
    return lambda: session.run(None, {"x": x})[0]


def peers(case: Case, every: bool) -> tuple[dict[str, Call], dict[str, Call], float]:
    """Return training steps and inference calls by peer, and what compiling for a shape takes.

    Args:
        case: What to measure.
        every: Also inference by Keras with XLA, by ONNX Runtime, and by exported models.

    Raises:
        RuntimeError: Two peers give different outputs.
    """
    keras_layer = Layer(case, keras.layers)
    ours = Layer(case, layers, keras_layer.weights)
    torch = Torch(case, keras_layer.weights)
    training = {
        "seqzoo": ours.training(),
        "keras": keras_layer.training(),
        "torch": torch.training(),
    }
    inference = {
        "seqzoo": ours.inference(),
        "keras": keras_layer.inference(),
        "torch": torch.inference(),
    }
    if every:
        inference["keras_xla"] = keras_layer.inference(jit_compile=True)
        inference["onnx"] = onnx(case, keras_layer.weights)
        inference["seqzoo_exported"] = ours.exported()
        inference["keras_exported"] = keras_layer.exported()
    _require_equal(case, inference)
    inference["matmul"] = matmul(case)
    return training, inference, _new_shape(case)


def _require_equal(case: Case, inference: dict[str, Call]) -> None:
    """Refuse to compare different functions."""
    _, lengths = case.batch_of_inputs()
    real = np.arange(case.time) < lengths[:, None]
    expected = inference["keras"]()[real]
    for name, call in inference.items():
        difference = np.abs(call()[:, : case.time][real] - expected).max()
        if difference > TOLERANCE[case.dtype]:
            raise RuntimeError(f"{case}: {name} and keras differ by {difference:.1e}")


def _new_shape(case: Case) -> float:
    """Return the seconds that our first training step of a new length takes."""
    from benchmarks.timing import seconds

    return seconds(Layer(replace(case, time=case.time + 1), layers).training())
