"""What all tests share: settings, a small untrained pipeline, a small trained run."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from zoo import onednn

if TYPE_CHECKING:
    from zoo.pipeline import Pipeline
    from zoo.preprocessing import TextEncoder

# TensorFlow reads it once, when the first test imports it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
onednn.turn_on()  # as the command lines do, beside which tests compute
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: their threads only meet
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Two cores that others share: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("seqzoo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("seqzoo")


@pytest.fixture(scope="session")
def corpus() -> tuple[str, ...]:
    """A hundred short sentences, all different."""
    kinds = ("good", "dull", "slow", "splendid")
    things = ("film", "plot", "cast", "ending", "score")
    return tuple(
        f"The {thing} of number {number} is {kind}."
        for number in range(5)
        for thing in things
        for kind in kinds
    )


@pytest.fixture(scope="session")
def vocabulary(corpus: tuple[str, ...]) -> bytes:
    """A subword vocabulary of `corpus`."""
    from zoo.preprocessing import learn_vocabulary

    return learn_vocabulary(corpus, 400)


@pytest.fixture(scope="session")
def encoder(vocabulary: bytes) -> TextEncoder:
    """A text encoder that reads 12 subwords."""
    from zoo.preprocessing import TextEncoder

    return TextEncoder(vocabulary, max_length=12)


@pytest.fixture
def pipeline(encoder: TextEncoder, corpus: tuple[str, ...]) -> Pipeline:
    """An untrained classifier of texts with two classes and three samples."""
    import keras

    from zoo.decoding import LabelDecoder
    from zoo.models import SequenceClassifier
    from zoo.pipeline import Pipeline

    keras.utils.set_random_seed(0)
    model = SequenceClassifier(
        encoder.vocabulary_size, 2, embedding_units=8, units=4, pooling="max+attention"
    )
    return Pipeline(encoder, model, LabelDecoder(["bad", "good"]), {"text": corpus[:3]})


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run, which whoever holds it fills; the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_run(shared: Path) -> Path:
    """The run folder of `sentiment train --preset tiny`. Not to be written to."""
    from recipes.__main__ import main as recipes

    folder = shared / "runs" / "tiny"
    with alone(shared):
        # Of one that is finished the same command says so, and trains nothing.
        assert recipes(["sentiment", "train", "--preset", "tiny", "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path, shared: Path) -> Path:
    """Version 1 of the model "tiny", exported from `tiny_run`. Not to be written to."""
    from recipes.__main__ import main as recipes

    version = shared / "models" / "tiny" / "1"
    words = ["sentiment", "export", "--run-dir", str(tiny_run), "--out", str(version.parent.parent)]
    with alone(shared):
        assert version.is_dir() or recipes([*words, "--name", "tiny"]) == 0
    return version


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder that the workers of a run share, or wait for it."""
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
