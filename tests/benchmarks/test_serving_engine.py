"""The benchmark of the serving engine measures every way of running a model."""

from __future__ import annotations

import json
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from benchmarks import serving_engine
from serving.server import warmup
from tests.serving import models


def test_every_way_is_measured_with_the_folders_own_request(tmp_path: Path) -> None:
    folder, report = tmp_path / "1", tmp_path / "report.json"
    models.save(folder)
    record = prediction_log_pb2.PredictionLog()
    request = record.predict_log.request
    request.model_spec.signature_name = "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    file = folder / warmup.FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(record.SerializeToString())
    assert serving_engine.main([str(folder), "--json", str(report), "--quick"]) == 0
    measured = json.loads(report.read_text(encoding="utf-8"))
    assert set(measured["peers"]) == {"signature", "unbatched", "batched"}
    assert all(row["calls_per_second"] > 0 for row in measured["peers"].values())
    assert set(measured["summary"]) == {"call_vs_signature", "batching_gain"}
