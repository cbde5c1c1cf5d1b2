"""A video predictor is trained on another backend, and its weights load here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.models import PREDICTORS

SIZES = dict(seen=3, horizon=2, height=8, width=8, filters=4, layers=2, kernel_size=3, block=2)
MOVED = {"moved": True}

TRAINING = """
import sys
import numpy as np
import keras
from zoo.layers import frame_loss
from zoo.models import PREDICTORS

name, folder, sizes = sys.argv[1], sys.argv[2], eval(sys.argv[3])
assert "tensorflow" not in sys.modules and keras.backend.backend() == "torch"
keras.utils.set_random_seed(0)
model = PREDICTORS[name](**sizes)
clips = keras.ops.convert_to_tensor(np.random.default_rng(0).random((4, 5, 8, 8, 1), "f"))
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(model.trainable_variables)
losses = []
for _ in range(10):
    model.zero_grad()
    predicted = model.taught(clips, 0.5)
    truth = clips[:, -predicted.shape[1]:]
    loss = frame_loss(predicted, truth, keras.ops.ones(4), 1.0, 0.5, entropy=model.bounded)
    loss.backward()
    gradients = [variable.value.grad for variable in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    losses.append(float(loss))
assert losses[-1] < losses[0], losses
model.save_weights(folder + "/trained.weights.h5")
answer = model({"frames": clips[:, :3]})
np.save(folder + "/answer.npy", keras.ops.convert_to_numpy(answer))
"""


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize(
    ("name", "more"), [*((name, {}) for name in PREDICTORS), ("encoder-forecaster", MOVED)]
)
def test_weights_of_pytorch_load_in_tensorflow(
    name: str, more: dict[str, bool], tmp_path: Path
) -> None:
    sizes = {**SIZES, **more}
    words = [sys.executable, "-c", TRAINING, name, str(tmp_path), repr(sizes)]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    model = PREDICTORS[name](**sizes)
    model.load_weights(tmp_path / "trained.weights.h5")
    clips = np.random.default_rng(0).random((4, 5, 8, 8, 1), "f")
    expected = np.load(tmp_path / "answer.npy")
    np.testing.assert_allclose(model({"frames": clips[:, :3]}), expected, atol=1e-5)
