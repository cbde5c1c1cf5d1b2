"""Forecasting: an unscaled history in, a forecast and calibrated intervals out.

    python -m recipes forecasting train --run-dir runs/m3
    python -m recipes forecasting train --preset ett --run-dir runs/ett
    python -m recipes forecasting train --data mine.csv --run-dir runs/mine

A recurrent network reads the end of a history and corrects a plain forecast of it: that of the
Theta method, the last value, or the last season. One network is trained on all series. Its
intervals are then widened or narrowed until they hold on windows that it was not trained on.

Measured beside trivial baselines in the same run: see the result table in the README.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes import baselines as reference
from recipes.config import require
from recipes.headline import Headline
from recipes.optimizer import adamw
from recipes.report import Score, forecast_page
from recipes.run import Run
from zoo import decoding, layers, metrics, models, preprocessing
from zoo.datasets import series
from zoo.errors import ConfigError
from zoo.pipeline import Pipeline


@dataclass(frozen=True)
class Config:
    """What a run depends on."""

    dataset: str = "m3-monthly"
    """A data set by name: m3-, m1- or tourism- and yearly, quarterly or monthly; m3-other;
    ett-h1, ett-h2, ett-m1, exchange, m4-hourly, m4-weekly, synthetic."""
    data: Path | None = None
    """An own table instead: columns unique_id, ds, y and what is known ahead, as numbers; or ds
    and a column per series."""
    statics: tuple[str, ...] = ()
    """Columns of it that say what a series is, the same on each of its lines: text is taken as
    categories, and numbers are scaled."""
    together: bool = False
    """Its series are the channels of one: observed, asked about and forecast together."""
    horizon: int = 0
    """Steps to forecast; 0 for those of the data set."""
    windows: int = 1
    """Test windows per series, each one step behind the last; of ett and exchange all are."""

    base: Literal["theta", "last", "season", "zero"] = "theta"
    """The forecast that is corrected: the Theta method's, the last value, the last season, or 0
    for counts."""
    period: int = 0
    """Steps of the season; 0 for that of the data set. Named data sets are scored by theirs."""
    log: bool = False
    """Forecast logarithms of values, all of which must be above 0."""
    calendar: tuple[str, ...] = ()
    """Cycles whose place the network is told, of day, week and year; takes dated series."""
    look_back: int = 126
    """Last steps that are looked at."""
    model: Literal["recurrent", "segment", "autoregressive"] = "recurrent"
    """Read step by step, in segments, or step by step and go on so, drawing many futures."""
    cell: Literal["lstm", "gru"] = "gru"
    """Recurrent layer."""
    units: int = 64
    """State size."""
    layers: int = 2
    """Recurrent layers on top of each other; "segment" has one."""
    seen: int = 60
    """Last steps that the recurrence reads, of "recurrent"."""
    segment: int = 48
    """Steps of a segment, of "segment"."""
    dropout: float = 0.1
    """Share of features dropped behind the recurrence."""
    levels: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    """Quantiles that are forecast."""
    recent: int = 0
    """Last steps whose changes, beside those of the whole window, widen or narrow the intervals;
    0 for none."""
    distribution: Literal["gaussian", "student_t", "negative_binomial"] = "student_t"
    """Of the next value, of "autoregressive"; "negative_binomial" takes counts, and base zero."""
    loss: Literal["relative", "absolute", "squared", "likelihood"] = "relative"
    """Errors count as shares of the values, by their size, or by its square; "autoregressive"
    is trained by the likelihood of its distribution."""
    epochs: int = 8
    """Passes; the best one on the validation windows is kept."""
    windows_per_epoch: int = 40_000
    """Training windows of a pass, drawn anew for each."""
    batch_size: int = 256
    """Windows per step."""
    learning_rate: float = 2e-3
    """Of the first step; a cosine takes it down to 0."""
    weight_decay: float = 1e-3
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""
    seed: int = 0
    """Seed of weights, dropout and order."""

    def __post_init__(self) -> None:
        """Check every range, so that a bad value is named before anything is loaded."""
        require(self, "at least 1", lambda n: n >= 1, "windows", "units", "layers", "seen")
        sizes = ("segment", "epochs", "windows_per_epoch", "batch_size")
        require(self, "at least 1", lambda n: n >= 1, *sizes)
        require(self, "at least 2", lambda n: n >= 2, "look_back")
        require(self, "at least 0", lambda n: n >= 0, "horizon", "period", "recent", "weight_decay")
        require(self, "at least 0 and below 1", lambda share: 0 <= share < 1, "dropout")
        require(self, "above 0", lambda value: value > 0, "learning_rate", "clip_norm")
        if (self.model == "autoregressive") != (self.loss == "likelihood"):
            raise ConfigError(
                "model 'autoregressive' and loss 'likelihood' need each other, and received are "
                f"'{self.model}' and '{self.loss}'"
            )
        counts = self.model == "autoregressive" and self.distribution == "negative_binomial"
        base = "zero" if counts else "last"
        if self.model == "autoregressive" and self.base != base:
            raise ConfigError(
                f"model 'autoregressive' with distribution '{self.distribution}' takes base "
                f"'{base}', not '{self.base}'"
            )
        if self.base == "zero" and not counts:
            raise ConfigError("base 'zero' takes distribution 'negative_binomial'")
        if self.log and self.base == "zero":
            raise ConfigError("log takes values above 0, and base 'zero' takes counts")
        for name in ("statics", "together"):
            if getattr(self, name) and self.data is None:
                raise ConfigError(f"{name} is about an own table: give data too")
        rising = list(self.levels) == sorted(set(self.levels))
        if not self.levels or not rising or not 0 < self.levels[0] <= self.levels[-1] < 1:
            raise ConfigError(f"levels must rise and be between 0 and 1, not {self.levels}")


_LONG = Config(
    dataset="ett-h1",
    base="last",
    look_back=720,
    recent=336,
    model="segment",
    units=256,
    dropout=0.5,
    loss="absolute",
    epochs=10,
    windows_per_epoch=8000,
    batch_size=64,
    learning_rate=1e-3,
)
_PATHS = Config(base="last", model="autoregressive", loss="likelihood", look_back=60)
PRESETS = {
    "tiny": Config(
        dataset="synthetic",
        look_back=24,
        units=16,
        layers=1,
        seen=16,
        dropout=0.0,
        epochs=5,
        windows_per_epoch=1500,
        batch_size=64,
        learning_rate=5e-3,
    ),
    "base": Config(),
    "ett": _LONG,
    "ett-m1": replace(_LONG, dataset="ett-m1", epochs=5, windows_per_epoch=16_000),
    "exchange": replace(_LONG, dataset="exchange", look_back=96, recent=0, units=64, epochs=5),
    "m4-hourly": Config(
        dataset="m4-hourly",
        base="season",
        look_back=336,
        model="segment",
        segment=24,
        units=128,
        epochs=12,
    ),
    "paths": _PATHS,
    "counts": replace(_PATHS, base="zero", distribution="negative_binomial"),
    "m4-weekly": Config(dataset="m4-weekly", look_back=104, seen=104),
    "large": replace(_LONG, units=512, epochs=30, windows_per_epoch=20_000, batch_size=256),
}

# Errors of the test part as published: mean squared, of values scaled by the training part.
MARKS = {
    "ett-h1": [
        Score("SegRNN", 0.351, "Lin et al. 2023"),
        Score("PatchTST/42", 0.375, "Nie et al. 2023"),
        Score("DLinear", 0.375, "Nie et al. 2023"),
    ],
    "ett-m1": [
        Score("SegRNN", 0.293, "Lin et al. 2023"),
        Score("PatchTST/42", 0.290, "Nie et al. 2023"),
        Score("DLinear", 0.299, "Nie et al. 2023"),
    ],
    "exchange": [Score("repeat the last value", 0.081, "Zeng et al. 2023")],
}

SAMPLES = 8
"""Real windows that travel with the pipeline, for warm-up and comparison."""


def load(config: Config) -> series.SeriesSplit:
    """Return train, validation and test part; what is missing is reported."""
    if config.data is None:
        examples = series.load(config.dataset)
    else:
        examples = series.read_series(config.data, statics=config.statics)
        examples = replace(examples, period=config.period or examples.period)
        examples = series.together(examples) if config.together else examples
    examples = replace(examples, horizon=config.horizon or examples.horizon)
    if config.calendar and examples.times is None:
        raise ConfigError(f"calendar needs dated series, and those of {examples.name} have none")
    series.check_values(examples, counts=config.base == "zero", log=config.log)
    split = series.split_series(examples, config.windows)
    for note in [*split.train.examples.left_out, *split.notes(), *_season_note(config, examples)]:
        print(f"note: {note}", file=sys.stderr)
    return split


def build(config: Config, data: series.SeriesSplit) -> Pipeline:
    """Return the untrained pipeline; only the training part is looked at."""
    import keras

    from recipes import backtest

    keras.utils.set_random_seed(config.seed)  # initial weights and every dropout
    examples = data.train.examples
    channels = len(examples.channels)
    encoder = preprocessing.SeriesEncoder(
        examples.horizon,
        config.look_back,
        config.period or examples.period,
        config.base,
        backtest.usual_sizes(data.train, config.log),
        config.calendar,
        backtest.covariate_scales(data.train),
        preprocessing.fit_statics(examples.statics),
        config.recent,
        config.log,
    )
    sizes: dict[str, Any] = {
        "horizon": examples.horizon,
        "look_back": config.look_back,
        "columns": encoder.columns,
        "known": encoder.known,
        **{name: getattr(config, name) for name in ("cell", "units", "dropout")},
    }
    if config.model == "segment":
        sizes |= {"quantiles": len(config.levels), "segment": config.segment}
    elif config.model == "recurrent":
        sizes |= {"quantiles": len(config.levels), "layers": config.layers, "seen": config.seen}
    else:
        sizes |= {"levels": config.levels, "layers": config.layers}
        sizes["distribution"] = config.distribution
    model = models.FORECASTERS[config.model](**sizes)
    finish = decoding.ForecastDecoder(examples.horizon, config.levels, channels, config.log)
    held_out = backtest.windows(data.held_out, encoder, SAMPLES)
    samples = held_out.raw(np.arange(min(SAMPLES, len(held_out))))
    return Pipeline(encoder, model, finish, samples)


def train(config: Config, data: series.SeriesSplit, pipeline: Pipeline, run: Run) -> dict[str, Any]:
    """Train `pipeline` in place, then let its intervals hold on the validation part."""
    from recipes import backtest  # here, not above: it loads TensorFlow
    from recipes.training import Trainer

    batches: Any = backtest.windows(
        data.train, pipeline.prepare, config.batch_size, config.windows_per_epoch, config.seed
    )
    part = data.held_out
    held_out = backtest.windows(part, pipeline.prepare, config.batch_size)
    came = backtest.outcomes(part, held_out, backtest.usual_sizes(data.train))
    # Squared errors are what the field compares on long series.
    headline = replace(HEADLINE, metric="mse" if data.train.examples.borders else "smape")
    state = Trainer(
        pipeline.model,
        _loss(config, backtest.usual_sizes(data.train, config.log)),
        batches,
        batches,
        lambda: came.scores(backtest.answers(pipeline, held_out)["mean"]),
        headline,
        adamw(config, steps=len(batches.epoch(0))),
        config.epochs,
        run,
        counts=partial(backtest.counted, past=config.loss == "likelihood"),
    ).fit()
    truth, quantiles = backtest.corrections(pipeline.model, held_out)
    weights = backtest.recency(part, len(truth))
    offsets = decoding.fit_offsets(truth, quantiles, config.levels, weights)
    pipeline.model.get_layer("scaling").offsets.assign(offsets)
    return {
        "headline": headline.metric,
        "best_epoch": state.best_epoch + 1,
        "train_seconds": state.seconds,
        "examples_per_second": state.examples / state.seconds,
        "calibrated_on": len(data.validation),
        "series": len(data.train.examples),
        "notes": len(data.train.examples.left_out),
    }


def evaluate(
    config: Config, data: series.SeriesSplit, pipeline: Pipeline
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metrics of the test part, and the answers behind them.

    Windows go through the whole pipeline, as a client's would.
    """
    from recipes import backtest

    windows = backtest.windows(data.test, pipeline.prepare, config.batch_size)
    came = backtest.outcomes(data.test, windows, backtest.usual_sizes(data.train))
    answers = backtest.answers(pipeline, windows)
    scores: dict[str, Any] = came.scores(answers["mean"])
    if not data.test.examples.channels:
        usual = reference.of_rows(reference.naive2(windows, data.test.examples.period), came)
        scores["owa"] = metrics.owa(scores["smape"], scores["mase"], usual["smape"], usual["mase"])
    scores |= came.interval_scores(answers["quantiles"], config.levels)
    return scores, answers


def baselines(config: Config, data: series.SeriesSplit) -> dict[str, dict[str, Any]]:
    """Return what needs no neural network, on the same windows."""
    from recipes import backtest

    train, test = (
        backtest.windows(part, _plain(config, data), config.batch_size)
        for part in (data.train, data.test)
    )
    came = backtest.outcomes(data.test, test, backtest.usual_sizes(data.train))
    period = data.test.examples.period
    found = {
        "naive": reference.naive(test),
        "seasonal_naive": reference.seasonal_naive(test, period),
        "drift": reference.drift(test),
        "theta": reference.theta(test, period),
        "linear": reference.linear(train, test),
    }
    return {name: reference.of_rows(baseline, came) for name, baseline in found.items()}


def report(
    config: Config,
    data: series.SeriesSplit,
    run: Run,
    results: dict[str, Any],
    answers: dict[str, np.ndarray],
) -> None:
    """Write the page of the run and its pictures."""
    from recipes import backtest

    examples = data.test.examples
    text = (
        f"A {config.cell.upper()} that corrects a forecast by {BASES[config.base]}, trained on "
        f"{len(examples):,} series of {examples.name} ({examples.frequency}) to forecast "
        f"{examples.horizon} steps. The {len(data.test):,} windows of the test part were scored "
        "once, after training."
    )
    marks = [] if config.data or config.horizon else MARKS.get(config.dataset, [])
    windows = backtest.windows(data.test, _plain(config, data), config.batch_size)
    test = backtest.shown(data.test, windows, answers, config.levels)
    forecast_page(run, "Forecasting", text, test, results, marks)


HEADLINE = Headline("smape", lower_is_better=True)
SIGNATURES = ("serving_default", "update")
BASES = {"theta": "Theta", "last": "the last value", "season": "the last season", "zero": "0"}


def main() -> None:
    """Run this recipe from the command line."""
    from recipes.__main__ import main as recipes

    sys.exit(recipes(["forecasting", *sys.argv[1:]]))


def _plain(config: Config, data: series.SeriesSplit) -> preprocessing.SeriesEncoder:
    """Return an encoder for windows that no model reads."""
    return preprocessing.SeriesEncoder(data.test.examples.horizon, config.look_back, base="last")


def _season_note(config: Config, examples: series.SeriesExamples) -> Iterator[str]:
    """Yield what Theta does with a season that does not fit twice into the look-back."""
    period = config.period or examples.period
    if config.base == "theta" and period > 1 and config.look_back < 2 * period:
        yield f"Theta takes out no season of {period} steps; with --look-back {2 * period} it would"


def _loss(config: Config, usual: Mapping[str, float]) -> Any:
    if config.loss == "likelihood":
        return layers.LikelihoodLoss()
    return layers.ForecastLoss(config.loss, config.levels, tuple(usual.values()), config.log)


if __name__ == "__main__":
    main()
