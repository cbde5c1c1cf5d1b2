"""The exported folder: complete, whole or absent, and equal to what was trained."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import export as exporting
from serving.card import _request
from serving.export import export
from serving.parity import Probes
from zoo import datasets
from zoo.errors import DataError, ExportError
from zoo.pipeline import Pipeline

STRANGER = """
import json, sys
import numpy as np, tensorflow as tf, tensorflow_text
loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
texts = json.load(open(sys.argv[2]))
order = np.random.default_rng(0).permutation(len(texts))
answers = {}
for size in (1, 7, 64):
    found = np.zeros((len(texts), 2), np.float32)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        found[chosen] = serve(text=tf.constant([texts[i] for i in chosen]))["probabilities"]
    answers[str(size)] = found
assert not [name for name in sys.modules if name.split(".")[0] in ("zoo", "serving", "recipes")]
np.savez(sys.argv[3], **answers)
"""


def test_the_folder_holds_model_warm_up_probes_and_card(tiny_export: Path) -> None:
    for name in ("saved_model.pb", "variables/variables.index"):
        assert (tiny_export / name).is_file()
    extra = {file.name for file in (tiny_export / "assets.extra").iterdir()}
    assert extra == {"tf_serving_warmup_requests", "parity.json", "MODEL_CARD.md"}
    assert [entry.name for entry in tiny_export.parent.parent.iterdir()] == ["tiny"]


def test_a_process_without_our_code_gives_the_same_probabilities_from_a_copy(
    tiny_run: Path, tiny_export: Path, tmp_path: Path
) -> None:
    examples = datasets.keyword_sentences(1000, seed=5)
    copy = shutil.copytree(tiny_export, tmp_path / "copy")
    (tmp_path / "texts.json").write_text(json.dumps(examples.texts))
    (tmp_path / "stranger.py").write_text(STRANGER)
    # -P and another working directory: our packages must not even be importable by accident.
    command = [sys.executable, "-P", "stranger.py", str(copy), "texts.json", "answers.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    expected = Pipeline.load(tiny_run).predict({"text": np.array(examples.texts, dtype=object)})
    with np.load(tmp_path / "answers.npz") as answers:
        for size in ("1", "7", "64"):
            np.testing.assert_allclose(answers[size], expected["probabilities"], atol=1e-5)


def test_the_signature_is_that_of_the_ports(tiny_export: Path) -> None:
    import tensorflow as tf

    signature = tf.saved_model.load(str(tiny_export)).signatures["serving_default"]
    (text,) = signature.structured_input_signature[1].values()
    assert (text.name, text.dtype, text.shape.as_list()) == ("text", tf.string, [None])
    outputs = {
        name: (spec.dtype, spec.shape.as_list())
        for name, spec in signature.structured_outputs.items()
    }
    assert outputs == {
        "label": (tf.string, [None]),
        "probabilities": (tf.float32, [None, 2]),
        "status": (tf.string, [None]),
    }


def test_only_ops_that_the_stock_server_knows_are_used(tiny_export: Path) -> None:
    check_ops(tiny_export)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("speech", {"search": "greedy", "streaming": True}),
        ("speech", {"search": "beam", "features": "mfcc", "front": "conv", "cell": "gru"}),
        ("speech", {"search": "lexicon"}),
        ("forecasting", {}),
        ("forecasting", {"model": "autoregressive", "base": "last", "loss": "likelihood"}),
        ("video", {"model": "encoder-forecaster"}),
        ("video", {"model": "predrnn"}),
    ],
    ids=str,
)
def test_so_they_are_by_every_recipe(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    from recipes import listening, recipe

    module = recipe(name)
    config = dataclasses.replace(module.PRESETS["tiny"], **changes)
    data = module.load(config)
    pipeline = module.build(config, data)
    if name == "speech":
        pipeline.finish = listening.transcriber(config, data, pipeline, config.search)
    pipeline.save(tmp_path)
    check_ops(export(tmp_path, tmp_path / "models", name))


def check_ops(folder: Path) -> None:
    """Check that an exported model has no operation but those of the stock server."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework import op_def_registry

    graph = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph_def = graph.meta_graphs[0].graph_def
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    own = {function.signature.name for function in graph_def.library.function}
    for op in {node.op for node in nodes} - own:
        # Registered by TensorFlow itself, or by tensorflow-text, which the server links too.
        assert op_def_registry.get(op) is not None, op
        assert not op.startswith("Xla"), op


def test_warm_up_records_are_requests_that_the_model_answers(tiny_export: Path) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    file = tiny_export / "assets.extra" / "tf_serving_warmup_requests"
    signature = tf.saved_model.load(str(tiny_export)).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(str(file)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "tiny"
        texts = tf.make_ndarray(request.inputs["text"])
        answer = signature(text=tf.constant(texts))
        assert set(answer["status"].numpy()) == {b""}
        sizes.append(len(texts))
    assert sizes == [1, 8, 32]


def test_the_model_card_states_data_scores_ports_and_a_request(tiny_export: Path) -> None:
    card = (tiny_export / "assets.extra" / "MODEL_CARD.md").read_text()
    for word in ("# tiny", "synthetic", "nb_svm", "text: string[batch]", "curl http://", "seed: 0"):
        assert word in card


def test_a_request_of_bytes_comes_from_a_file(tmp_path: Path, tiny_run: Path) -> None:
    pipeline = Pipeline.load(tiny_run)
    pipeline.samples = {"audio": np.array([b"RIFF\xff\x00"], object)}
    (request,) = [line for line in _request("tiny", pipeline) if "curl" in line]
    file, body = tmp_path / "FILE", tmp_path / "body"
    file.write_bytes(b"RIFF\xff\x00" * 40_000)
    command = request.replace("curl http://localhost:8501/v1/models/tiny:predict -d @-", "cat")
    subprocess.run(["bash", "-c", f"{command} > {body}"], check=True, cwd=tmp_path)
    (row,) = json.loads(body.read_text())["instances"]
    assert base64.b64decode(row["audio"]["b64"]) == file.read_bytes()


def test_a_second_export_is_the_next_version(
    tiny_run: Path, tiny_export: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_export, tmp_path / "tiny" / "9")
    (tmp_path / "tiny" / "notes").mkdir()
    assert export(tiny_run, tmp_path, "tiny") == tmp_path / "tiny" / "10"


def test_a_model_that_answers_otherwise_is_not_published(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Probes.of

    def shifted(pipeline: Pipeline) -> Probes:
        probes = of(pipeline)
        probes.answers["probabilities"][3, 0] += 1e-3
        return probes

    monkeypatch.setattr(exporting.Probes, "of", shifted)
    with pytest.raises(ExportError, match=r"'probabilities' of row 3 differs by 0\.001"):
        export(tiny_run, tmp_path / "models", "tiny")
    assert not list((tmp_path / "models").iterdir())


def test_a_name_that_cannot_be_in_a_url_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="letters, digits, - and _, not '../tiny'"):
        export(tiny_run, tmp_path, "../tiny")


def test_a_base_that_is_a_file_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot export to"):
        export(tiny_run, tmp_path / "file", "tiny")
