"""A trained run to a SavedModel that an unmodified TF Serving container serves.

    BASE/NAME/VERSION/
        saved_model.pb, variables/                       the model
        assets.extra/tf_serving_warmup_requests          asked by the server before it is ready
        assets.extra/parity.json                         probe rows and their answers
        assets.extra/MODEL_CARD.md                       what it is and how good it is

The folder is written aside, reloaded, compared with the trained pipeline, and only then
renamed: a server that watches BASE/NAME never sees half a model, or a wrong one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from serving.card import model_card
from serving.client import Client
from serving.parity import Finding, Probes, ask_all
from serving.signatures import signatures
from zoo.errors import DataError, ExportError, ParityError
from zoo.pipeline import Pipeline

WARM_UP = "tf_serving_warmup_requests"
WARM_UP_BATCHES = (1, 8, 32)


def export(run: Path, base: Path, name: str) -> Path:
    """Export the pipeline of a run folder as the next version of a model.

    Args:
        run: A run folder with `model.keras` and `pipeline/`.
        base: Folder that holds one folder per model.
        name: The model's name; becomes part of its URL.

    Returns:
        The version folder, `base/name/VERSION`.

    Raises:
        DataError: The run is not trained, the name cannot be part of a URL, or `base`
            cannot be written to.
        ExportError: The reloaded model answers otherwise than the trained one.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise DataError(f"a model's name consists of letters, digits, - and _, not '{name}'")
    pipeline = Pipeline.load(run)
    aside = base / f".{name}.{os.getpid()}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        _write_model(pipeline, aside)
        probes = Probes.of(pipeline)
        extra = aside / "assets.extra"
        extra.mkdir()
        probes.write(aside)
        _write_warm_up(pipeline, name, extra / WARM_UP)
        finding = _compare(aside, probes)
        card = model_card(run, name, pipeline, finding)
        (extra / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        return _publish(aside, base / name)
    except OSError as error:
        raise DataError(f"cannot export to '{base}': {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_model(pipeline: Pipeline, folder: Path) -> None:
    import keras

    archive = keras.export.ExportArchive()
    # A server finds variables and resources only through tracked objects.
    archive.track(pipeline.model)
    for stage in (pipeline.prepare, pipeline.finish):
        archive.track(stage)
    for name, function in signatures(pipeline).items():
        archive.add_endpoint(name, function)
    archive.write_out(str(folder), verbose=False)


def _write_warm_up(pipeline: Pipeline, name: str, file: Path) -> None:
    """Write requests that the server answers before it reports itself ready."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(file)) as writer:
        for size in WARM_UP_BATCHES:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = "serving_default"
            for port, rows in pipeline.samples.items():
                request.inputs[port].CopyFrom(
                    tf.make_tensor_proto(np.resize(rows, (size, *rows.shape[1:])))
                )
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())


def _compare(folder: Path, probes: Probes) -> Finding:
    try:
        with Client.in_process(folder) as client:
            return ask_all(probes, "reloaded", client, len(probes))
    except ParityError as error:
        raise ExportError(f"the exported model differs from the trained one: {error}") from error


def _publish(aside: Path, model: Path) -> Path:
    """Rename `aside` to the next free version number."""
    model.mkdir(exist_ok=True)
    while True:
        taken = [int(entry.name) for entry in model.iterdir() if entry.name.isdecimal()]
        version = model / str(max(taken, default=0) + 1)
        try:
            return aside.rename(version)
        except OSError:
            if not version.exists():
                raise
            # Another export took this number meanwhile: try the next one.
