"""Speech: a recording in, its words out.

    python -m recipes speech train --run-dir runs/speech
    python -m recipes speech train --preset an4 --run-dir runs/an4
    python -m recipes speech train --data mine.tsv --run-dir runs/mine

Spectra of 10 ms frames go through stacked LSTMs, which are trained by CTC to spell what was
said. A search then finds the most probable sentence of known words, under an n-gram model of
the training transcripts.

Measured beside trivial baselines in the same run: see the result table in the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes import baselines as reference
from recipes.config import require
from recipes.headline import Headline
from recipes.optimizer import adamw
from recipes.report import Score, Transcripts, transcription_page
from recipes.run import Run
from zoo import datasets, decoding, layers, metrics, models, preprocessing
from zoo.datasets import speech
from zoo.errors import ConfigError
from zoo.pipeline import Pipeline
from zoo.sound import RATES


@dataclass(frozen=True)
class Config:
    """What a run depends on."""

    dataset: str = "spoken-digits"
    """A data set by name: spoken-digits, fsdd, an4 or synthetic."""
    data: Path | None = None
    """Own recordings instead: a .csv, .tsv or .jsonl with the columns path and text, and, if
    you like, split and speaker; WAV, FLAC or OGG files."""
    held_out_speaker: str = ""
    """Test on this speaker of the data set alone, and train on the others."""
    validation_fraction: float = 0.1
    """Share of the rows that chooses epoch and decoder weights; whole speakers, if known and none
    is held out by name."""
    test_fraction: float = 0.1
    """Share of the rows that is scored once, where the data set brings no test part."""

    rate: int = 16_000
    """Samples per second of the features; recordings are resampled to it."""
    features: Literal["log_mel", "mfcc"] = "log_mel"
    """What describes a frame: 25 ms of sound, every 10 ms."""
    bins: int = 40
    """Mel bands."""
    max_seconds: float = 30.0
    """Longer recordings are refused."""

    streaming: bool = False
    """Listen while it is spoken: in one direction, normalised by what was heard so far."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent layer."""
    units: int = 128
    """State size per direction."""
    layers: int = 2
    """Recurrent layers on top of each other."""
    front: Literal["stack", "conv"] = "conv"
    """What comes before them: stacked frames, or two convolutions."""
    reduction: int = 4
    """Frames per step of the recurrence; of "conv" 2 or 4."""

    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which every training recording is heard."""
    noise: float = 0.0
    """Share of the training recordings that noise is added to."""
    warp: float = 0.0
    """Most that the frequencies of a training voice are stretched or squeezed, of "log_mel"."""
    hidden: int = 2
    """Bands of frequency, and as many stretches of time, that are hidden from training."""
    dropout: float = 0.2
    """Share of features dropped after every recurrent layer."""

    tokens: Literal["characters", "words"] = "characters"
    """What a step says; "words" knows those of the training part as wholes, if they are few."""
    search: Literal["greedy", "beam", "lexicon"] = "lexicon"
    """How steps become words; "lexicon" knows the words of the training part, or of `arpa`."""
    arpa: Path | None = None
    """N-gram model of "lexicon" as an ARPA file; without one it is estimated from the texts."""
    beam: int = 16
    """Hypotheses that a search keeps."""
    order: int = 3
    """Words of the longest n-gram."""

    epochs: int = 20
    """Passes over the training part; the best one by validated characters is kept."""
    batch_size: int = 32
    """Recordings per step."""
    learning_rate: float = 2e-3
    """Peak of the schedule: a warm-up over its first twentieth, then a cosine down to 0."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""
    seed: int = 0
    """Seed of weights, dropout, noise and order."""

    def __post_init__(self) -> None:
        """Check every range, so that a bad value is named before anything is loaded."""
        sizes = ("bins", "units", "layers", "reduction", "beam", "order", "epochs", "batch_size")
        require(self, "at least 1", lambda n: n >= 1, *sizes)
        require(self, f"one of {RATES}", lambda n: n in RATES, "rate")
        require(self, "at least 0", lambda n: n >= 0, "hidden", "weight_decay")
        require(self, "at least 0 and below 1", lambda share: 0 <= share < 1, "dropout", "warp")
        require(self, "from 0 to 1", lambda share: 0 <= share <= 1, "noise")
        require(self, "above 0 and at most 3600", lambda n: 0 < n <= 3600, "max_seconds")
        require(self, "above 0", lambda value: value > 0, "learning_rate", "clip_norm")
        datasets.Fractions(self.validation_fraction, self.test_fraction)  # raises
        if not self.speeds or not all(map(speech.is_speed, self.speeds)):
            raise ConfigError(
                f"speeds must be one or more from 0.5 to 2, in steps of 0.05, not {self.speeds}"
            )
        if self.noise and self.dataset == "spoken-digits" and self.data is None:
            raise ConfigError("spoken-digits has its noise, and keeps kinds of it for the test")
        if self.tokens == "words" and self.search == "lexicon":
            raise ConfigError("tokens 'words' takes search 'greedy' or 'beam', not 'lexicon'")
        if self.warp and self.features == "mfcc":
            raise ConfigError(
                f"warp takes features 'log_mel', whose bins are frequencies, not '{self.features}'"
            )
        if self.streaming and (self.front, self.search) != ("stack", "greedy"):
            raise ConfigError(
                "streaming takes front 'stack' and search 'greedy', which need nothing of what "
                f"is still to come, not front '{self.front}' and search '{self.search}'"
            )


PRESETS = {
    "tiny": Config(
        dataset="synthetic",
        rate=8000,
        bins=16,
        units=32,
        layers=1,
        front="stack",
        reduction=2,
        hidden=0,
        dropout=0.0,
        beam=8,
        order=2,
        epochs=6,
        batch_size=16,
        learning_rate=1e-2,
    ),
    "base": Config(),
    "streaming": Config(streaming=True, front="stack", reduction=3, search="greedy"),
    "fsdd": Config(dataset="fsdd", rate=8000, speeds=(0.9, 1.0, 1.1), order=1, epochs=25),
    "an4": Config(
        dataset="an4",
        bins=80,
        units=320,
        layers=3,
        speeds=(0.9, 0.95, 1.0, 1.05, 1.1),
        dropout=0.45,
        beam=32,
        epochs=25,
        batch_size=16,
        learning_rate=1e-3,
    ),
    "large": Config(
        bins=80,
        units=512,
        layers=5,
        speeds=(0.9, 1.0, 1.1),
        dropout=0.3,
        beam=32,
        epochs=40,
        learning_rate=1e-3,
    ),
}

# Word error rate of the test part as published.
MARKS = {
    "an4": [
        Score("RNN, CTC and word LM", 0.229, "ESPnet"),
        Score("RNN, CTC + attention + LM", 0.079, "ESPnet"),
        Score("Transformer + LM", 0.074, "ESPnet"),
    ],
}

SAMPLES = 8
"""Real recordings that travel with the pipeline, for warm-up and comparison."""


def load(config: Config) -> speech.SpeechSplit:
    """Return train, validation and test part; what cannot be read is reported and left out."""
    if config.data is not None:
        examples = speech.read_manifest(config.data)
    else:
        examples = speech.load(config.dataset)
    examples = speech.readable(examples, config.max_seconds, min(config.speeds))
    for reason in examples.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    if config.held_out_speaker:
        return speech.leave_one_out(examples, config.held_out_speaker, config.validation_fraction)
    fractions = datasets.Fractions(config.validation_fraction, config.test_fraction)
    return speech.split_speech(examples, fractions)


def build(config: Config, data: speech.SpeechSplit) -> Pipeline:
    """Return the untrained pipeline; only the training part is looked at."""
    import keras

    from recipes.listening import check_language, wav, with_usual_scale

    keras.utils.set_random_seed(config.seed)  # initial weights and every dropout
    # A space is spelled too where every recording has a single word: words are searched for.
    alphabet: Any = "".join(sorted(set(" ".join(["", *data.train.texts]))))
    check_language(config, data.train, alphabet)
    if config.tokens == "words":
        alphabet = sorted({word for text in data.train.texts for word in text.split()})
    encoder = preprocessing.SpeechEncoder(
        config.rate,
        config.features,
        config.bins,
        # Slopes look ahead, which a stream cannot.
        orders=2 if config.features == "mfcc" and not config.streaming else 0,
        normalisation="running" if config.streaming else "utterance",
        max_seconds=config.max_seconds,
    )
    if config.streaming:
        encoder = with_usual_scale(encoder, data.train)
    model = models.AcousticModel(
        encoder.features,
        len(alphabet) + 1,
        config.cell,
        config.units,
        config.layers,
        not config.streaming,
        config.front,
        config.reduction,
        config.dropout,
        _hidden(config, encoder.features),
        config.warp,
    )
    finish = decoding.Transcriber(alphabet, step_seconds=encoder.hop_seconds * config.reduction)
    samples = [wav(recording) for recording in data.validation.recordings[:SAMPLES]]
    return Pipeline(encoder, model, finish, {"audio": samples})


def train(config: Config, data: speech.SpeechSplit, pipeline: Pipeline, run: Run) -> dict[str, Any]:
    """Train `pipeline` in place, then choose how its answers are searched for."""
    # Here, not above: they load TensorFlow.
    from recipes.listening import Listener, characters, check_steps, features, transcriber
    from recipes.training import Trainer

    greedy: Any = pipeline.finish
    heard = speech.augment(data.train, config.speeds, config.noise, config.seed)
    rows = features(pipeline.prepare, heard)
    batches = preprocessing.BucketedBatches(rows, config.batch_size, seed=config.seed)
    spelled = config.tokens == "characters"
    said = heard.texts if spelled else [text.split() for text in heard.texts]
    targets = preprocessing.token_targets(said, greedy.alphabet)
    targets["frames"] = np.array([len(frames) for frames in rows], np.int32)
    check_steps(targets, config.reduction)
    held_out = Listener(pipeline, data.validation, config.batch_size)
    state = Trainer(
        pipeline.model,
        _loss,
        batches,
        targets,
        lambda: _rates(data.validation.texts, held_out.transcripts(greedy)),
        Headline("cer", lower_is_better=True),
        adamw(config, len(batches.epoch(0)), warmup=1 / 20),
        config.epochs,
        run,
        counts=characters,
    ).fit()
    finish = pipeline.finish = transcriber(config, data, pipeline, config.search)
    return {
        "best_epoch": state.best_epoch + 1,
        "train_seconds": state.seconds,
        "examples_per_second": state.examples / state.seconds,
        "lm_weight": finish.lm_weight,
        "word_bonus": finish.word_bonus,
        "left_out": len(data.train.left_out),
    }


def evaluate(
    config: Config, data: speech.SpeechSplit, pipeline: Pipeline
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metrics of the test part, and the answers behind them.

    The recordings go through the whole pipeline, one at a time, as those of a client would. The
    other ways to search are scored on the same logits.
    """
    from recipes import listening

    answers, factor = listening.answers(pipeline, data.test)
    scores: dict[str, Any] = {
        **_rates(data.test.texts, _texts(answers)),
        "ser": metrics.sentence_error_rate(data.test.texts, _texts(answers)),
        "real_time_factor": factor,
    }
    listener = listening.Listener(pipeline, data.test, config.batch_size)
    for search in decoding.SEARCHES:
        finish: Any = pipeline.finish
        if search == "lexicon" and config.tokens == "words":
            continue
        if search != config.search:
            finish = listening.transcriber(config, data, pipeline, search)
        scores[search] = _rates(data.test.texts, listener.transcripts(finish))
    if quiet := speech.without_noise(data.test):
        easier, _ = listening.answers(pipeline, quiet)
        scores["noise_free"] = _rates(data.test.texts, _texts(easier))
    return scores, answers


def baselines(config: Config, data: speech.SpeechSplit) -> dict[str, dict[str, Any]]:
    """Return what needs no neural network, on the same parts."""
    return {
        "frequent_words": reference.frequent_words(data.train, data.test).record(),
        "nearest_centroid": reference.nearest_centroid(data.train, data.test).record(),
    }


def report(
    config: Config,
    data: speech.SpeechSplit,
    run: Run,
    results: dict[str, Any],
    answers: dict[str, np.ndarray],
) -> None:
    """Write the page of the run and its pictures."""
    direction = "A" if config.streaming else "A bidirectional"
    text = (
        f"{direction} {config.cell.upper()} of {config.layers} layers with CTC, trained on "
        f"{len(data.train):,} recordings of {data.train.name}. The {len(data.test):,} recordings "
        "of the test part were scored once, after training."
    )
    marks = [] if config.data or config.held_out_speaker else MARKS.get(config.dataset, [])
    test = Transcripts(data.test, _texts(answers), [*map(json.loads, answers["nbest"])])
    transcription_page(run, "Speech", text, test, results, marks)


HEADLINE = Headline("wer", lower_is_better=True)
SIGNATURES = ("serving_default", "waveform", "stream_start", "stream_step", "stream_end")


def main() -> None:
    """Run this recipe from the command line."""
    from recipes.__main__ import main as recipes

    sys.exit(recipes(["speech", *sys.argv[1:]]))


def _texts(answers: dict[str, np.ndarray]) -> list[str]:
    return [text.decode() for text in answers["text"]]


def _rates(truth: Sequence[str], guess: Sequence[str]) -> dict[str, float]:
    return {
        "wer": metrics.word_error_rate(truth, guess),
        "cer": metrics.character_error_rate(truth, guess),
    }


def _hidden(config: Config, features: int) -> dict[str, int] | None:
    """Return what SpecAugment hides: bands a fifth of the features wide."""
    if not config.hidden:
        return None
    counts = {"bands": config.hidden, "stretches": config.hidden}
    return {**counts, "band_width": features // 5, "stretch_width": 30}


def _loss(model: Any, features: Any, targets: Any, weights: Any) -> Any:
    """Return nats per character."""
    from recipes.listening import characters_per_row

    lengths = targets["frames"]
    logits = model({"features": features, "lengths": lengths}, training=True)
    steps = (lengths + model.reduction - 1) // model.reduction
    losses = layers.ctc_loss(targets["labels"], logits, targets["label_lengths"], steps)
    return layers.masked_mean(losses, weights) / characters_per_row(targets, weights)


if __name__ == "__main__":
    main()
