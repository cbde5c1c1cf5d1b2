"""What every public layer and model promises, shown on every row of `tests/descriptors.py`."""

from __future__ import annotations

import ast
import functools
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.descriptors import DESCRIPTORS, LENGTHS, Descriptor
from zoo import layers, models

PADDED_ROW = LENGTHS.index(0)

each_descriptor = pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=str)
each_differentiable = pytest.mark.parametrize(
    "descriptor", [each for each in DESCRIPTORS if each.output.dtype == "float32"], ids=str
)

each_masked = pytest.mark.parametrize(
    "descriptor", [each for each in DESCRIPTORS if "mask" in each.inputs], ids=str
)


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    """Weights that are drawn anew in every test, and the same in every run."""
    keras.utils.set_random_seed(3)


def one_per_class() -> Iterator[Any]:
    """Yield the rows, of which a class's further ones are slow: an export takes seconds."""
    seen: set[Any] = set()
    for descriptor in DESCRIPTORS:
        marks = [pytest.mark.slow] if descriptor.make in seen else []
        seen.add(descriptor.make)
        yield pytest.param(descriptor, marks=marks)


BY_NAME = {str(descriptor): descriptor for descriptor in DESCRIPTORS}


@functools.cache
def built(name: str) -> keras.Model:
    """Return the model of a row, built once."""
    return BY_NAME[name].model()


@pytest.fixture
def model(descriptor: Descriptor) -> keras.Model:
    """The row's class as a model, whose weights stay as they are."""
    return built(str(descriptor))


@pytest.fixture
def bfloat16() -> Iterator[None]:
    """Compute in bfloat16, keep weights in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def answer(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the model gives outside training."""
    return keras.ops.convert_to_numpy(keras.ops.cast(model(batch, training=False), "float32"))


def assert_same(descriptor: Descriptor, received: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(received, expected, rtol=0, atol=descriptor.tolerance)


def public_classes(package: ModuleType) -> set[type]:
    """Return the Keras classes that a package lists in its `__init__.pyi`."""
    stub = Path(str(package.__file__)).with_suffix(".pyi")
    names = {
        alias.asname
        for statement in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    values = [getattr(package, str(name)) for name in names]
    return {
        value
        for value in values
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    }


@pytest.mark.parametrize("package", [layers, models], ids=lambda package: package.__name__)
def test_every_public_class_has_a_row(package: ModuleType):
    public = public_classes(package)
    missing = public - {each for row in DESCRIPTORS for each in (row.make, row.around)}
    assert public
    assert not missing, f"add to tests/descriptors.py: {sorted(map(str, missing))}"


def test_no_two_rows_have_one_name():
    names = [str(descriptor) for descriptor in DESCRIPTORS]
    assert len({*names}) == len(names)


@each_descriptor
class TestPorts:
    """The declared shapes are the real ones."""

    def test_the_output_fits_its_port(self, descriptor: Descriptor, model: keras.Model):
        output = model(descriptor.batch(), training=False)
        assert descriptor.output.mismatch(keras.ops.convert_to_numpy(output)) is None
        assert tuple(model.output_shape) == (None, *descriptor.output.shape)

    def test_one_step_and_one_row_are_enough(self, descriptor: Descriptor, model: keras.Model):
        received = answer(model, descriptor.batch(lengths=(0,), time=1))
        assert len(received) == 1
        assert np.all(np.isfinite(received))


@each_descriptor
class TestRoundTrips:
    """What is written down and rebuilt is the same."""

    def test_the_config_holds_every_argument_as_json(self, descriptor: Descriptor):
        config = descriptor.part().get_config()
        parameters = inspect.signature(descriptor.make).parameters.values()
        gathered = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        named = {each.name for each in parameters if each.kind not in gathered}
        assert named <= config.keys()
        assert {**config, **descriptor.arguments} == config
        assert json.loads(json.dumps(config)) == config

    def test_the_config_rebuilds_the_class(self, descriptor: Descriptor):
        part = descriptor.part(name="a_name")
        rebuilt = descriptor.make.from_config(part.get_config())
        assert type(rebuilt) is descriptor.make
        assert rebuilt.name == "a_name"
        assert rebuilt.get_config() == part.get_config()

    def test_a_copy_by_config_and_weights_answers_the_same(
        self, descriptor: Descriptor, model: keras.Model
    ):
        copy = type(model).from_config(model.get_config())
        copy.set_weights(model.get_weights())
        batch = descriptor.batch()
        assert_same(descriptor, answer(copy, batch), answer(model, batch))

    def test_a_keras_file_answers_the_same(
        self, descriptor: Descriptor, model: keras.Model, tmp_path: Path
    ):
        model.save(tmp_path / "model.keras")
        reloaded = keras.saving.load_model(tmp_path / "model.keras")
        batch = descriptor.batch()
        assert_same(descriptor, answer(reloaded, batch), answer(model, batch))
        assert json.dumps(reloaded.get_config()) == json.dumps(model.get_config())

    def test_a_weights_file_moves_the_weights(self, descriptor: Descriptor, tmp_path: Path):
        model = descriptor.model()
        model.set_weights([weight + 0.1 for weight in model.get_weights()])
        model.save_weights(tmp_path / "model.weights.h5")
        other = descriptor.model()
        other.load_weights(tmp_path / "model.weights.h5")
        batch = descriptor.batch()
        assert_same(descriptor, answer(other, batch), answer(model, batch))


@pytest.mark.parametrize("descriptor", [*one_per_class()], ids=str)
def test_a_saved_model_answers_the_same(descriptor: Descriptor, model: keras.Model, tmp_path: Path):
    def serve(raw: dict[str, Any]) -> dict[str, Any]:
        return {"output": model(raw, training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, [descriptor.inputs.tensor_specs()])
    archive.write_out(str(tmp_path), verbose=False)
    reloaded = tf.saved_model.load(str(tmp_path))
    for lengths in (LENGTHS, (1,), (0, 9)):
        batch = descriptor.batch(lengths)
        tensors = {name: tf.constant(values) for name, values in batch.items()}
        received = reloaded.signatures["serve"](**tensors)["output"]
        assert_same(descriptor, received.numpy(), answer(model, batch))


@each_descriptor
class TestPadding:
    """Padding and company change nothing."""

    @pytest.mark.parametrize("more", [1, 20])
    def test_more_padding_changes_no_answer(
        self, descriptor: Descriptor, model: keras.Model, more: int
    ):
        steps = max(LENGTHS)
        expected = answer(model, descriptor.batch())
        padded = answer(model, descriptor.batch(time=steps + more))
        over_time = descriptor.output.shape[:1] == (None,)
        assert_same(descriptor, padded[:, : expected.shape[1]] if over_time else padded, expected)

    def test_a_row_of_padding_gives_finite_numbers(
        self, descriptor: Descriptor, model: keras.Model
    ):
        assert np.all(np.isfinite(answer(model, descriptor.batch())[PADDED_ROW]))
        assert np.all(np.isfinite(answer(model, descriptor.batch(lengths=(0, 0), time=3))))

    def test_a_row_does_not_depend_on_its_neighbours(
        self, descriptor: Descriptor, model: keras.Model
    ):
        batch = descriptor.batch()
        together = answer(model, batch)
        for row in range(len(LENGTHS)):
            alone = {name: values[row : row + 1] for name, values in batch.items()}
            assert_same(descriptor, answer(model, alone)[0], together[row])
        backwards = {name: values[::-1] for name, values in batch.items()}
        assert_same(descriptor, answer(model, backwards)[::-1], together)


@each_differentiable
class TestTraining:
    """What the optimizer needs."""

    def test_gradients_are_finite_and_reach_every_weight(
        self, descriptor: Descriptor, model: keras.Model
    ):
        batch = {name: tf.constant(values) for name, values in descriptor.batch().items()}
        floats = [
            values
            for name, values in batch.items()
            if values.dtype.is_floating and name not in descriptor.not_in_training
        ]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            loss = tf.reduce_sum(tf.square(model(batch, training=True)))
        sources = [*(weight.value for weight in model.trainable_weights), *floats]
        gradients = tape.gradient(loss, sources)
        assert sources
        for gradient in gradients:
            values = tf.convert_to_tensor(gradient).numpy()
            assert np.all(np.isfinite(values))
            assert values.any()


@each_masked
class TestMask:
    """Steps behind the mask count for nothing."""

    def test_what_stands_there_changes_no_answer(self, descriptor: Descriptor, model: keras.Model):
        batch = descriptor.batch()
        noise = np.where(batch["mask"][..., None], batch["inputs"], np.float32(1e3))
        other = {**batch, "inputs": noise}
        assert_same(descriptor, answer(model, other), answer(model, batch))

    def test_it_gets_no_gradient(self, descriptor: Descriptor, model: keras.Model):
        batch = {name: tf.constant(values) for name, values in descriptor.batch().items()}
        with tf.GradientTape() as tape:
            tape.watch(batch["inputs"])
            loss = tf.reduce_sum(tf.square(model(batch, training=True)))
        gradient = tape.gradient(loss, batch["inputs"]).numpy()
        assert not gradient[~batch["mask"].numpy()].any()


@each_descriptor
class TestReducedPrecision:
    """bfloat16 for the arithmetic, float32 for the weights."""

    def test_it_runs_and_stays_close_to_float32(
        self, descriptor: Descriptor, model: keras.Model, bfloat16: None
    ):
        reduced = descriptor.model()
        reduced.set_weights(model.get_weights())
        batch = descriptor.batch()
        assert keras.backend.standardize_dtype(reduced(batch).dtype) == descriptor.bfloat16
        assert {weight.dtype for weight in reduced.trainable_weights} <= {"float32"}
        np.testing.assert_allclose(
            answer(reduced, batch),
            answer(model, batch),
            rtol=descriptor.bfloat16_tolerance,
            atol=descriptor.bfloat16_tolerance,
        )
