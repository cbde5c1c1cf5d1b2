"""Pipeline: the one object that is trained, exported and served.

    raw request -> prepare -> model -> finish -> human answer

All three parts are TensorFlow graphs. Training maps its data through the same `prepare`
that is exported, so what the server sees cannot differ from what training saw.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo.errors import DataError
from zoo.ports import Endpoint, Ports

MODEL_FILE = "model.keras"
FOLDER = "pipeline"


class Stage(Protocol):
    """What `prepare` and `finish` share: they can be written down and rebuilt."""

    def get_config(self) -> dict[str, Any]:
        """Return JSON values."""
        ...

    def save_assets(self, folder: Path) -> None:
        """Write what does not fit into JSON."""
        ...

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Stage:
        """Rebuild from both."""
        ...


class Prepare(Stage, Protocol):
    """Raw request to model inputs and `status: string[batch]`."""

    inputs: Ports

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return at least one time step, whatever the row holds."""
        ...

    def entrances(self, model: Any, finish: Any) -> dict[str, Endpoint]:
        """Return what is served beside the pipeline itself, by signature name."""
        ...

    def probe_rows(self) -> dict[str, np.ndarray]:
        """Return rows at the edges of what may be sent."""
        ...


class Finish(Stage, Protocol):
    """Model outputs and status to the answer."""

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        ...

    def __call__(self, output: Any, status: Any) -> dict[str, Any]:
        """Return the answer."""
        ...


class Pipeline:
    """`prepare`, `model` and `finish`, called as one.

    Args:
        prepare: Raw request to model inputs, with its input ports.
        model: A built Keras model that takes what `prepare` gives, by name.
        finish: Model outputs to the answer, with its output ports.
        samples: A few real rows by input name. They travel with the pipeline: the exported
            model is warmed up and compared on them.
    """

    def __init__(
        self, prepare: Prepare, model: Any, finish: Finish, samples: Mapping[str, Any] | None = None
    ) -> None:
        self.prepare, self.model, self.finish = prepare, model, finish
        self.samples = self.inputs.check(samples or self.inputs.dummy())

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # A graph keeps the parts that it was traced with.
        self.__dict__.pop("_graph", None)

    @property
    def inputs(self) -> Ports:
        """What a request consists of."""
        return self.prepare.inputs

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        return self.finish.outputs

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one batch of raw rows, as tensors."""
        features = self.prepare(raw)
        status = features.pop("status")
        return self.finish(self.model(features, training=False), status)

    def endpoints(self) -> dict[str, Endpoint]:
        """Return what the exported model serves, by signature name."""
        others = self.prepare.entrances(self.model, self.finish)
        return {"serving_default": Endpoint(self, self.inputs, self.outputs), **others}

    def predict(self, raw: Mapping[str, Any], batch_size: int = 256) -> dict[str, np.ndarray]:
        """Return the answers as NumPy arrays, strings as bytes.

        Args:
            raw: Rows by input name, any number of them.
            batch_size: Rows per call of the graph.

        Raises:
            PortError: The rows do not fit `inputs`.
        """
        rows = self.inputs.check(raw)
        count = len(next(iter(rows.values())))
        parts = [
            self._graph({name: values[start : start + batch_size] for name, values in rows.items()})
            for start in range(0, count, batch_size)
        ]
        return {
            name: np.concatenate([np.asarray(part[name]) for part in parts])
            if parts
            else port.dummy(0)
            for name, port in self.outputs.items()
        }

    @cached_property
    def _graph(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        import tensorflow as tf

        return tf.function(self.__call__, input_signature=[self.inputs.tensor_specs()])

    def save(self, run: Path) -> None:
        """Write `run/model.keras` and `run/pipeline/`, whose `pipeline.json` comes last."""
        self.model.save(run / MODEL_FILE)
        parts = {"prepare": self.prepare, "finish": self.finish}
        description: dict[str, Any] = {"model": {"class": _class_path(self.model)}}
        for name, stage in parts.items():
            folder = run / FOLDER / name
            folder.mkdir(parents=True, exist_ok=True)
            stage.save_assets(folder)
            description[name] = {"class": _class_path(stage), "config": stage.get_config()}
        description["inputs"] = self.inputs.to_json()
        description["outputs"] = self.outputs.to_json()
        description["samples"] = self.inputs.rows_to_json(self.samples)
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (run / FOLDER / "pipeline.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, run: Path) -> Pipeline:
        """Rebuild what `save` wrote, without the recipe that made it.

        Raises:
            DataError: `run` holds no finished pipeline.
        """
        import keras

        file = run / FOLDER / "pipeline.json"
        for needed in (file, run / MODEL_FILE):
            if not needed.is_file():
                raise DataError(f"'{run}' holds no trained pipeline: {needed.name} is missing")
        description = json.loads(file.read_text(encoding="utf-8"))
        stages = {}
        for name in ("prepare", "finish"):
            saved = description[name]
            stages[name] = _find_class(saved["class"]).load(saved["config"], run / FOLDER / name)
        _find_class(description["model"]["class"])  # registers the class with Keras
        model = keras.saving.load_model(run / MODEL_FILE, compile=False)
        samples = stages["prepare"].inputs.rows_from_json(description["samples"])
        return cls(stages["prepare"], model, stages["finish"], samples)


def _class_path(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _find_class(path: str) -> Any:
    module, _, name = path.partition(":")
    # A run folder is data: it may name our own classes, nothing else.
    if module.partition(".")[0] != "zoo":
        raise DataError(f"a pipeline consists of classes of the package 'zoo', not '{path}'")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ModuleNotFoundError) as error:
        raise DataError(f"this version of zoo has no '{path}': {error}") from error
