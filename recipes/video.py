"""Video: frames in, the next frames out.

    python -m recipes video train --run-dir runs/video
    python -m recipes video train --preset moving-mnist --run-dir runs/mnist
    python -m recipes video train --data films/ --height 96 --width 128 --run-dir runs/mine

Stacked convolutional LSTMs read the frames, each at half the resolution of the last, and as many
write those to come; or ST-LSTMs predict frame after frame and look at what they predict.

Measured beside copying the last frame, and moving it on along its optical flow, in the same run:
see the result table in the README.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes import baselines as reference
from recipes.config import require
from recipes.headline import Headline
from recipes.report import Frames, Score, video_page
from recipes.run import Run
from zoo import datasets, decoding, layers, metrics, models, preprocessing
from zoo.datasets import video
from zoo.errors import ConfigError, MisuseError
from zoo.pipeline import Pipeline

MOST_SEEN = 64
"""Frames that `serving call` sends of a video."""
MOST_SKIPPED = 10_000
"""Frames of which one is taken; more are as good as a film of one frame."""


@dataclass(frozen=True)
class Config:
    """What a run depends on."""

    dataset: str = "moving-digits"
    """A data set by name: moving-digits, moving-mnist, radar or synthetic."""
    data: Path | None = None
    """Own videos instead: a file (MP4, AVI, GIF, ...), a folder of files, a folder of pictures, or
    a folder of such folders."""
    clips: int = 2000
    """Clips for training, where the data set makes them; moving digits are drawn anew for every
    epoch."""
    every: int = 1
    """Of so many frames of an own video one is taken."""
    step: int = 5
    """Frames from one clip of an own video to the next, in training."""
    validation_fraction: float = 0.1
    """Share of an own video, before its test part, that chooses the epoch."""
    test_fraction: float = 0.1
    """Share of an own video, at its end, that is scored once."""

    seen: int = 10
    """Frames that are looked at."""
    horizon: int = 10
    """Frames that are predicted."""
    height: int = 64
    """Pixels to which frames are brought."""
    width: int = 64
    """Pixels to which frames are brought."""
    channels: int = 1
    """1 for grey, 3 for colour."""

    model: Literal["encoder-forecaster", "predrnn"] = "encoder-forecaster"
    """Read all, then write all; or predict frame after frame."""
    moved: bool = False
    """Predict how the last frame moves and changes, where frames do so slowly, such as weather; of
    "encoder-forecaster"."""
    filters: int = 32
    """Channels of the first layer's state; of "encoder-forecaster" each further layer works on
    frames of half the height and width, with twice as many, of "predrnn" all have as many."""
    layers: int = 2
    """Layers on top of each other."""
    kernel_size: int = 3
    """Height and width of the kernels, on folded frames."""
    block: int = 4
    """Pixels of the sides of a block that is folded into channels."""

    loss: Literal["entropy", "squared"] = "entropy"
    """Cross-entropy, for predictions that are between 0 and 1 by themselves, or squared errors;
    `moved` takes the latter."""
    absolute: float = 0.0
    """Weight of absolute errors in the loss."""
    structure: float = 0.0
    """Weight of lost structure (1 - SSIM) in the loss."""
    weights: Path | None = None
    """Weights to begin with, in a file that `model.save_weights` wrote, on any backend; they stay
    where no epoch is better."""
    sampling: float = 0.5
    """Share of the training in which "predrnn" is still shown true frames to come, fewer and
    fewer."""
    mixed_precision: bool = False
    """Train in bfloat16, on a GPU or a processor that knows it (AVX512_BF16, AMX), others are slow
    by it; the trained model computes in float32."""
    epochs: int = 5
    """Passes over the training clips; the best one by validated error is kept. After none,
    `weights` are scored as they are."""
    batch_size: int = 4
    """Clips per step."""
    learning_rate: float = 4e-3
    """Peak of the schedule: a warm-up over its first twentieth, then a cosine down to 0."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""
    seed: int = 0
    """Seed of weights and order."""

    def __post_init__(self) -> None:
        """Check every range, so that a bad value is named before anything is loaded."""
        sizes = ("clips", "every", "step", "seen", "horizon", "height", "width", "filters")
        require(self, "at least 1", lambda n: n >= 1, *sizes)
        counts = ("layers", "kernel_size", "block", "batch_size")
        require(self, "at least 1", lambda n: n >= 1, *counts)
        least = 0 if self.weights else 1
        require(self, f"at least {least}", lambda n: n >= least, "epochs")
        require(self, "1 or 3", lambda n: n in (1, 3), "channels")
        require(self, f"at most {MOST_SEEN}", lambda n: n <= MOST_SEEN, "seen")
        require(self, "at least 0", lambda weight: weight >= 0, "absolute", "structure")
        require(self, f"at most {MOST_SKIPPED}", lambda n: n <= MOST_SKIPPED, "every")
        parts = ("validation_fraction", "test_fraction")
        require(self, "above 0 and below 0.5", lambda share: 0 < share < 0.5, *parts)
        require(self, "from 0 to 1", lambda share: 0 <= share <= 1, "sampling")
        require(self, "above 0", lambda value: value > 0, "learning_rate", "clip_norm")
        if self.height % self.block or self.width % self.block:
            raise ConfigError(
                f"height and width must be multiples of block = {self.block}, not {self.height} "
                f"and {self.width}"
            )
        if self.moved and self.model != "encoder-forecaster":
            raise ConfigError(f"moved takes model 'encoder-forecaster', not '{self.model}'")
        if self.moved and self.loss != "squared":
            raise ConfigError(f"moved takes loss 'squared', not '{self.loss}'")
        if self.structure and min(self.height, self.width) < metrics.SSIM_WINDOW:
            raise ConfigError(
                f"structure takes frames of at least {metrics.SSIM_WINDOW} pixels, not "
                f"{self.height} x {self.width}"
            )

    @property
    def clip(self) -> video.Shape:
        """The form of every clip."""
        return video.Shape(self.seen + self.horizon, self.height, self.width, self.channels)


PRESETS = {
    "tiny": Config(
        dataset="synthetic",
        seen=3,
        horizon=3,
        height=16,
        width=16,
        filters=16,
        layers=1,
        block=2,
        epochs=8,
        batch_size=8,
        learning_rate=1e-2,
    ),
    "base": Config(),
    "moving-mnist": Config(dataset="moving-mnist", clips=10_000, epochs=8),
    "radar": Config(dataset="radar", seen=6, horizon=6, moved=True, loss="squared", epochs=6),
    "large": Config(
        dataset="moving-mnist",
        clips=10_000,
        model="predrnn",
        filters=128,
        layers=4,
        kernel_size=5,
        mixed_precision=True,
        batch_size=16,
        epochs=200,
        learning_rate=5e-4,
    ),
}

# Moving MNIST, 10 -> 10, as published: error summed over a frame, of the 10,000 clips of the
# published test file; ours are 1,000 that are drawn in the same way.
MARKS = {
    "moving-mnist": [
        Score("ConvLSTM, 200 epochs", 29.80, "OpenSTL"),
        Score("PredRNN, 200 epochs", 23.97, "OpenSTL"),
        Score("PredRNN++, 200 epochs", 22.06, "OpenSTL"),
    ],
}

PACKAGES = ("av", "cv2", "skimage")
"""Films, optical flow and structural similarity."""

SAMPLES, MOST_SAMPLED = 4, 2**18
"""Real clips that travel with the pipeline, for warm-up and comparison, and about their pixels."""
USUAL = 64
"""Training clips whose brightness an untrained model begins with."""


def load(config: Config) -> video.VideoSplit:
    """Return train, validation and test part.

    Raises:
        MisuseError: A package is missing that the run will need at its end.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MisuseError(
                f"the video recipe takes {package}: pip install -r requirements-video.txt"
            )
    if config.data is None:
        return video.load(config.dataset, config.clip, config.seen, config.clips)
    encoder = _encoder(config)
    fractions = datasets.Fractions(config.validation_fraction, config.test_fraction)
    clip = config.clip
    return video.read_videos(
        config.data, encoder.fit, clip.time, config.step, config.every, fractions
    )


def build(config: Config, data: video.VideoSplit) -> Pipeline:
    """Return the untrained pipeline."""
    import keras

    from recipes.watching import read_weights

    keras.utils.set_random_seed(config.seed)
    finish = decoding.FrameDecoder(config.horizon, config.height, config.width, config.channels)
    size = config.seen * config.height * config.width * config.channels
    rows = range(min(SAMPLES, max(MOST_SAMPLED // size, 1), len(data.validation)))
    samples = data.validation.frames(rows)[:, : config.seen]
    model = _model(config)
    if model.bounded:
        usual = np.linspace(0, len(data.train) - 1, min(USUAL, len(data.train))).astype(int)
        model.expect(data.train.frames([*usual]).mean() / 255)
    if config.weights is not None:
        read_weights(model, config.weights)
    return Pipeline(_encoder(config), model, finish, {"frames": samples})


def train(config: Config, data: video.VideoSplit, pipeline: Pipeline, run: Run) -> dict[str, Any]:
    """Train `pipeline` in place and return what is worth knowing about the training."""
    # Here, not above: they load TensorFlow.
    from recipes.training import Trainer
    from recipes.watching import Redrawn, Watcher, in_precision, known_frames

    if not config.epochs:
        return _untrained(config, data, pipeline, run)
    made_anew = hasattr(data.train.clips[0], "again")
    kind = Redrawn if made_anew else preprocessing.BucketedBatches
    batches = kind(data.train.clips, config.batch_size, seed=config.seed)
    with in_precision(config.mixed_precision):
        model = _model(config)
    model.set_weights(pipeline.model.get_weights())
    steps = len(batches.epoch(0)) * config.epochs
    optimizer = _optimizer(config, steps)
    held_out = Watcher(model, data.validation, config.seen, config.batch_size)
    brought = held_out.errors()["mse"] if config.weights else math.inf
    state = Trainer(
        model,
        _loss(config, lambda: known_frames(optimizer, round(config.sampling * steps))),
        batches,
        {},
        held_out.errors,
        HEADLINE,
        optimizer,
        config.epochs,
        run,
    ).fit()
    is_better = HEADLINE.is_better(state.history[state.best_epoch]["mse"], brought)
    if is_better:
        pipeline.model.set_weights(model.get_weights())
    return {
        "best_epoch": state.best_epoch + 1 if is_better else 0,
        "train_seconds": state.seconds,
        "examples_per_second": state.examples / state.seconds,
    }


def _untrained(
    config: Config, data: video.VideoSplit, pipeline: Pipeline, run: Run
) -> dict[str, Any]:
    """Validate the weights that were brought, and return what `train` returns."""
    from recipes.watching import Watcher

    errors = Watcher(pipeline.model, data.validation, config.seen, config.batch_size).errors()
    run.write_json("history.json", [{"epoch": 0, **errors}])
    return {"best_epoch": 0, "train_seconds": 0.0, "examples_per_second": 0.0}


def evaluate(
    config: Config, data: video.VideoSplit, pipeline: Pipeline
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the errors of the test part, and the frames behind them.

    What is seen goes through the whole pipeline, as a client would send it.
    """
    clips = data.test.frames()
    answers = pipeline.predict({"frames": clips[:, : config.seen]}, config.batch_size)
    return metrics.frame_scores(clips[:, config.seen :], answers["frames"]), answers


def baselines(config: Config, data: video.VideoSplit) -> dict[str, dict[str, Any]]:
    """Return what needs no neural network, on the same clips."""
    clips = data.test.frames()
    seen, truth = clips[:, : config.seen], clips[:, config.seen :]
    found = {
        "copy_last": reference.copy_last(seen, config.horizon),
        "optical_flow": reference.optical_flow(seen, config.horizon),
    }
    return {
        name: {**metrics.frame_scores(truth, each.frames), "seconds": each.seconds}
        for name, each in found.items()
    }


def report(
    config: Config,
    data: video.VideoSplit,
    run: Run,
    results: dict[str, Any],
    answers: dict[str, np.ndarray],
) -> None:
    """Write the page of the run, its pictures, and films to look at."""
    kind = "An encoder and forecaster" if config.model == "encoder-forecaster" else "A PredRNN"
    text = (
        f"{kind} of {config.layers} layers, trained on {len(data.train):,} clips of "
        f"{data.train.name}: {config.seen} frames seen, {config.horizon} predicted. The "
        f"{len(data.test):,} clips of the test part were scored once, after training."
    )
    test = Frames(data.test.frames(), config.seen, answers["frames"])
    video_page(run, "Video", text, test, results, published(config))


def published(config: Config) -> list[Score]:
    """Return what others reach on the same data, of clips of the same form."""
    usual = PRESETS["base"]
    same = config.data is None and (config.seen, config.clip) == (usual.seen, usual.clip)
    return MARKS.get(config.dataset, []) if same else []


HEADLINE = Headline("mse", lower_is_better=True)
SIGNATURES = ("serving_default", "encoded", "step")


def main() -> None:
    """Run this recipe from the command line."""
    from recipes.__main__ import main as recipes

    sys.exit(recipes(["video", *sys.argv[1:]]))


def _encoder(config: Config) -> preprocessing.FrameEncoder:
    return preprocessing.FrameEncoder(config.seen, config.height, config.width, config.channels)


def _model(config: Config) -> Any:
    more = {"moved": True} if config.moved else {}
    return models.PREDICTORS[config.model](
        config.seen,
        config.horizon,
        config.height,
        config.width,
        config.channels,
        config.filters,
        config.layers,
        config.kernel_size,
        config.block,
        **more,
    )


def _loss(config: Config, known: Any) -> Any:
    def loss(model: Any, clips: Any, targets: Any, weights: Any) -> Any:
        """Return the mean error of the frames that the model predicts in training."""
        frames = preprocessing.as_numbers(clips)
        predicted = model.taught(frames, known())
        truth = frames[:, -predicted.shape[1] :]
        return layers.frame_loss(
            predicted, truth, weights, config.absolute, config.structure, config.loss == "entropy"
        )

    return loss


def _optimizer(config: Config, steps: int) -> Any:
    """Adam that warms up for a twentieth of all steps and then cools down to 0."""
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=config.learning_rate, warmup_steps=max(steps // 20, 1)
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm)


if __name__ == "__main__":
    main()
