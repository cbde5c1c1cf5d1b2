"""The video recipe: it learns, it answers films, strips and streams alike."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from recipes import baselines
from recipes import video as recipe
from recipes.__main__ import main
from recipes.config import from_json, to_json
from recipes.report.style import WIDE
from serving.commands import call
from serving.rows import MOST_FRAMES
from zoo import models
from zoo.errors import ConfigError, MisuseError
from zoo.pipeline import Pipeline
from zoo.video import encode_gif, frame_rate, read_frames, stacked

TINY = recipe.PRESETS["tiny"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `video train --preset tiny`."""
    folder = tmp_path_factory.mktemp("runs") / "video"
    assert main(["video", "train", "--preset", "tiny", "--run-dir", str(folder)]) == 0
    return folder


class TestTraining:
    """What a run leaves behind."""

    def test_squares_that_move_are_learned(self, run: Path):
        results = json.loads((run / "metrics.json").read_text())
        test, others = results["test"], results["baselines"]
        assert test["mse"] < 0.5 * others["copy_last"]["mse"]
        assert {*others} == {"copy_last", "optical_flow"}
        for row in (test, *others.values()):
            assert {"mse", "mae", "psnr", "ssim", "by_lead_time"} <= row.keys()
            steps = row["by_lead_time"]["mse"]
            assert [*steps] == ["1", "2", "3"]
            assert np.mean([*steps.values()]) == pytest.approx(row["mse"])

    def test_there_is_a_page_and_a_film(self, run: Path):
        page = (run / "index.html").read_text(encoding="utf-8")
        for text in ("squares summed over a frame", "copy_last", "prediction.gif"):
            assert text in page
        assert (run / "strips.png").stat().st_size > 2000
        for name in ("prediction.gif", "prediction.mp4"):
            film = stacked(read_frames(run / name), run / name)
            assert len(film) == 6 and film.shape[1] >= 192 * 4

    def test_evaluate_finds_the_same_again(self, run: Path, capsys: pytest.CaptureFixture[str]):
        assert main(["video", "evaluate", "--run-dir", str(run)]) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["mse"] == json.loads((run / "metrics.json").read_text())["test"]["mse"]

    def test_predict_writes_a_film(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        film = np.zeros((9, 40, 30, 3), np.uint8)
        film[:, :10] = 250
        file = tmp_path / "mine.gif"
        file.write_bytes(encode_gif(film, Fraction(25)))
        assert main(["video", "predict", "--run-dir", str(run), str(file)]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["video"] == str(file) and answer["count"] == 3
        assert len([*read_frames(Path(answer["predicted"]))]) == 3
        assert frame_rate(Path(answer["predicted"])) == 25

    def test_predict_names_what_cannot_be_read(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        assert main(["video", "predict", "--run-dir", str(run), str(tmp_path / "no.mp4")]) == 2
        assert "there is no file" in capsys.readouterr().err

    def test_the_pipeline_answers_as_it_was_trained(self, run: Path):
        pipeline, data = Pipeline.load(run), recipe.load(TINY)
        clips = data.test.frames(range(8))
        answer = pipeline.predict({"frames": clips[:, :3]})
        assert answer["frames"].shape == (8, 3, 16, 16, 1)
        assert not any(answer["status"])
        error = np.square(answer["frames"] / 255.0 - clips[:, 3:] / 255.0).sum((2, 3, 4)).mean()
        assert error < 8


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "predrnn"},
        {"structure": 0.5, "absolute": 0.0},
        {"loss": "squared", "absolute": 1.0, "moved": True},
    ],
)
def test_other_models_and_losses_train(tmp_path: Path, changes: dict):
    from recipes.run import Run

    config = dataclasses.replace(TINY, epochs=1, mixed_precision=True, **changes)
    data = recipe.load(config)
    pipeline = recipe.build(config, data)
    before = pipeline.model.get_weights()
    with Run(tmp_path / "run", "video", to_json(config)) as run:
        trained = recipe.train(config, data, pipeline, run)
    assert trained["best_epoch"] == 1
    assert any(
        np.abs(a - b).max() > 0 for a, b in zip(before, pipeline.model.get_weights(), strict=True)
    )
    assert pipeline.model.compute_dtype == "float32"


class TestWeightsFromElsewhere:
    """A model that was trained on a GPU is scored and exported here."""

    def test_they_are_scored_as_they_are(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        trained = Pipeline.load(run).model
        trained.save_weights(tmp_path / "tiny.weights.h5")
        again = tmp_path / "again"
        words = ["--preset", "tiny", "--weights", str(tmp_path / "tiny.weights.h5")]
        words += ["--epochs", "0", "--run-dir", str(again)]
        assert main(["video", "train", *words]) == 0, capsys.readouterr().err
        scores = [json.loads((each / "metrics.json").read_text())["test"] for each in (run, again)]
        assert scores[0] == scores[1]
        assert (again / "index.html").is_file()

    def test_they_stay_where_no_epoch_is_better(self, run: Path, tmp_path: Path):
        from recipes.run import Run

        file = tmp_path / "tiny.weights.h5"
        trained = Pipeline.load(run).model
        trained.save_weights(file)
        config = dataclasses.replace(TINY, weights=file, epochs=1, learning_rate=10.0)
        data = recipe.load(config)
        pipeline = recipe.build(config, data)
        with Run(tmp_path / "worse", "video", to_json(config)) as worse:
            assert recipe.train(config, data, pipeline, worse)["best_epoch"] == 0
        for found, expected in zip(
            pipeline.model.get_weights(), trained.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(found, expected)

    def test_those_of_a_model_that_was_compiled_are_read_too(self, run: Path, tmp_path: Path):
        import keras

        trained = Pipeline.load(run).model
        trained.compile(keras.optimizers.Adam(), "mse")
        trained.optimizer.build(trained.trainable_variables)
        file = tmp_path / "compiled.weights.h5"
        trained.save_weights(file)
        model = recipe.build(dataclasses.replace(TINY, weights=file), recipe.load(TINY)).model
        for found, expected in zip(model.get_weights(), trained.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("no.weights.h5", None, "weights: there is no file"),
            ("text.weights.h5", b"text", "is no file of weights"),
            ("a.h5", b"text", "must end with .weights.h5"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, tmp_path: Path, name: str, content, expected: str):
        if content:
            (tmp_path / name).write_bytes(content)
        config = dataclasses.replace(TINY, weights=tmp_path / name)
        with pytest.raises(MisuseError, match=expected):
            recipe.build(config, recipe.load(config))

    @pytest.mark.parametrize("changes", [{"filters": 8}, {"layers": 2}])
    @pytest.mark.parametrize("model", models.PREDICTORS)
    def test_weights_of_another_model_are_refused(self, changes: dict, model: str, tmp_path: Path):
        file = tmp_path / "other.weights.h5"
        config = dataclasses.replace(TINY, model=model)  # type: ignore[arg-type]
        recipe.build(dataclasses.replace(config, **changes), recipe.load(TINY)).model.save_weights(
            file
        )
        with pytest.raises(MisuseError, match="is of another model: its '.*' has the shape"):
            recipe.build(dataclasses.replace(config, weights=file), recipe.load(TINY))

    def test_without_any_there_is_something_to_train(self):
        with pytest.raises(ConfigError, match="epochs must be at least 1, not 0"):
            dataclasses.replace(TINY, epochs=0)


def test_published_scores_are_those_of_clips_of_the_same_form(tmp_path: Path):
    mnist = recipe.PRESETS["moving-mnist"]
    assert len(recipe.published(mnist)) == 3
    for changes in ({"horizon": 20}, {"seen": 5, "horizon": 15}, {"height": 128}, {"channels": 3}):
        assert not recipe.published(dataclasses.replace(mnist, **changes))
    assert not recipe.published(dataclasses.replace(mnist, data=tmp_path))
    assert not recipe.published(recipe.PRESETS["radar"])


def test_a_missing_package_is_named_before_the_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cv2" else name)
    with pytest.raises(MisuseError, match="takes cv2: pip install -r requirements-video.txt"):
        recipe.load(TINY)


def test_own_videos_are_cut_over_time(tmp_path: Path):
    film = np.zeros((90, 20, 20, 1), np.uint8)
    for place, frame in enumerate(film):
        frame[:, place % 20] = 255
    (tmp_path / "film.gif").write_bytes(encode_gif(film))
    config = dataclasses.replace(
        TINY, data=tmp_path, validation_fraction=0.2, test_fraction=0.2, step=2
    )
    split = recipe.load(config)
    assert split.train.frames().shape == (25, 6, 16, 16, 1)
    assert len(split.validation) == len(split.test) == 3


class TestBaselines:
    """What predicts without learning."""

    def film(self) -> np.ndarray:
        draw = np.random.default_rng(0)
        picture = draw.integers(0, 256, (8, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        return np.stack([np.roll(picture, 2 * step, axis=1) for step in range(6)])[None, ..., None]

    def test_the_last_frame_is_repeated(self):
        film = self.film()
        frames = baselines.copy_last(film[:, :3], 2).frames
        np.testing.assert_array_equal(frames, np.repeat(film[:, 2:3], 2, axis=1))

    def test_the_flow_carries_on(self):
        film = self.film()
        frames = baselines.optical_flow(film[:, :3], 3).frames
        inner = (slice(None), slice(None), slice(8, -8), slice(16, -16))
        gap = np.abs(frames[inner].astype(int) - film[:, 3:][inner]).mean()
        still = np.abs(film[:, 2:3][inner].astype(int) - film[:, 3:][inner]).mean()
        assert gap < still / 4

    @pytest.mark.parametrize(("time", "size"), [(1, 32), (2, 4)])
    def test_where_there_is_no_flow_nothing_moves(self, time: int, size: int):
        film = np.random.default_rng(0).integers(0, 256, (1, time, size, size, 3), dtype=np.uint8)
        frames = baselines.optical_flow(film, 2).frames
        np.testing.assert_array_equal(frames, np.repeat(film[:, -1:], 2, axis=1))


@pytest.mark.parametrize(("horizon", "height", "width"), [(1, 64, 64), (2, 128, 16), (10, 16, 64)])
def test_strips_of_any_form_are_no_larger_than_a_page(horizon: int, height: int, width: int):
    from recipes.report.video import _size

    wide, high = _size(12, horizon, height / width)
    assert 0 < wide <= WIDE * 1.001 and 0 < high <= 3 * WIDE * 1.001
    assert high / wide == pytest.approx(12 * height / width / (horizon + 0.8))


def test_true_frames_are_shown_less_and_less():
    import keras

    from recipes.watching import known_frames

    optimizer = keras.optimizers.Adam()
    assert float(known_frames(optimizer, 0)) == 0
    assert float(known_frames(optimizer, 4)) == 1
    optimizer.iterations.assign(3)
    assert float(known_frames(optimizer, 4)) == 0.25


class TestBfloat16:
    """Training in it takes a processor that knows it."""

    @pytest.mark.parametrize(
        ("processor", "is_told"),
        [
            ("flags\t\t: fpu avx avx2 fma", True),
            ("flags\t\t: fpu avx512f avx512_bf16 fma", False),
            ("flags\t\t: fpu amx_bf16 amx_tile", False),
            ("Features\t: fp asimd i8mm bf16 sve", False),
            (None, False),  # as where a system does not say
        ],
    )
    def test_a_processor_that_does_not_is_told_of(
        self,
        processor: str | None,
        is_told: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ):
        import keras

        from recipes import watching

        if processor is not None:
            (tmp_path / "cpuinfo").write_text(processor)
        monkeypatch.setattr(watching, "_PROCESSOR", tmp_path / "cpuinfo")
        with watching.in_precision(mixed=True):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert ("--mixed-precision False" in capsys.readouterr().err) == is_told
        with watching.in_precision(mixed=False):
            assert keras.config.dtype_policy().name == "float32"
        assert not capsys.readouterr().err

    def test_only_the_preset_for_a_gpu_asks_for_it(self):
        assert [name for name, each in recipe.PRESETS.items() if each.mixed_precision] == ["large"]


class TestConfig:
    """Bad values are named before anything is loaded."""

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"seen": 0}, "seen must be at least 1"),
            ({"seen": 65}, "seen must be at most 64"),
            ({"channels": 2}, "channels must be 1 or 3"),
            ({"every": 10_001}, "every must be at most 10000"),
            ({"validation_fraction": 0.0}, "validation_fraction must be above 0 and below 0.5"),
            ({"test_fraction": 0.5}, "test_fraction must be above 0 and below 0.5"),
            ({"height": 18, "block": 4}, "multiples of block = 4, not 18"),
            ({"absolute": -1.0}, "absolute must be at least 0"),
            ({"sampling": 1.5}, "sampling must be from 0 to 1"),
            ({"moved": True}, "moved takes loss 'squared', not 'entropy'"),
            ({"structure": 1.0, "height": 4, "width": 4}, "at least 7 pixels, not 4 x 4"),
        ],
    )
    def test_values(self, changes: dict, complaint: str):
        with pytest.raises(ConfigError, match=complaint):
            dataclasses.replace(TINY, **changes)

    def test_a_client_sends_as_many_frames_as_a_model_may_see(self):
        assert recipe.MOST_SEEN == MOST_FRAMES

    def test_every_frame_that_is_skipped_is_skipped_by_a_client_too(self):
        assert recipe.MOST_SKIPPED == call.MOST_SKIPPED

    def test_presets_survive_json(self):
        for config in recipe.PRESETS.values():
            assert from_json(recipe.Config, to_json(config)) == config
