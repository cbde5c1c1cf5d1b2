"""The page of a recipe that writes down what was said."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.report import figures, spectrogram
from recipes.report.page import Picture, Score, Section, Table
from recipes.report.summary import Summary, write_page
from recipes.run import Run
from zoo import metrics
from zoo.datasets.speech import SpeechExamples

_MOST_ERRORS = 40
_MOST_CONFUSIONS = 15
_SEARCHES = {
    "greedy": "greedy",
    "beam": "beam search",
    "lexicon": "beam search, lexicon and n-grams",
    "noise_free": "the same recordings without noise",
}


@dataclass(frozen=True)
class Transcripts:
    """The test part and what the model heard.

    Attributes:
        examples: The test part.
        texts: What was heard, one per row.
        nbest: Per row the list that the pipeline gives, best first.
    """

    examples: SpeechExamples
    texts: Sequence[str]
    nbest: Sequence[Sequence[Mapping[str, Any]]]

    def wrong(self) -> list[int]:
        """Return the rows that are not all right, those with the most wrong words first."""
        errors = [
            sum(edit.kind != "equal" for edit in metrics.alignment(truth, text))
            for truth, text in zip(self.examples.texts, self.texts, strict=True)
        ]
        return sorted((row for row, count in enumerate(errors) if count), key=lambda r: -errors[r])


def transcription_page(
    run: Run,
    title: str,
    text: str,
    test: Transcripts,
    results: Mapping[str, Any],
    published: Sequence[Score] = (),
) -> Path:
    """Write `index.html` with scores beside baselines and marks, curves, sounds and errors.

    Args:
        run: The run folder; its `history.json` gives the learning curves.
        title: Headline of the page.
        text: What was trained on what, in a sentence or two.
        test: The test part, answered.
        results: As for `metrics.json`.
        published: What others reach on this data set.
    """
    wrong = test.wrong()
    tables = [_score_table(results), _confusion_table(test, wrong)]
    return write_page(
        run,
        title,
        _summary(text, results, published),
        [table for table in tables if table.rows],
        _pictures(run, test, results, wrong),
        [_errors(test, wrong)],
    )


def aligned(truth: str, text: str) -> str:
    """Return two lines, what was said and what was heard, each word above its partner.

    Words that differ are in capitals, and a word that is missing is a row of stars.
    """
    said: list[str] = []
    heard: list[str] = []
    for edit in metrics.alignment(truth, text):
        width = max(len(edit.said), len(edit.heard))
        for line, word in ((said, edit.said), (heard, edit.heard)):
            shown = word if edit.kind == "equal" else word.upper() or "*" * width
            line.append(shown.ljust(width))
    return "\n".join(
        f"  {name:<6}{' '.join(line)}".rstrip() for name, line in (("said", said), ("heard", heard))
    )


def _summary(text: str, results: Mapping[str, Any], published: Sequence[Score]) -> Summary:
    return Summary(
        text=text,
        metric="test word error rate",
        model=Score("model", results["test"]["wer"]),
        baselines=[Score(name, row["wer"]) for name, row in results["baselines"].items()],
        published=published,
        larger_is_better=False,
        facts={
            "parameters": results["parameters"],
            "training, seconds": round(results["train_seconds"], 1),
            "seconds per second of sound": round(results["test"]["real_time_factor"], 4),
            "best epoch": results["best_epoch"],
            "recordings left out": results["left_out"],
        },
    )


def _score_table(results: Mapping[str, Any]) -> Table:
    test = results["test"]
    rows = {name: test[key] for key, name in _SEARCHES.items() if key in test}
    rows |= results["baselines"]
    return Table(
        "Test part",
        ("method", "word errors", "character errors"),
        [(name, row["wer"], row["cer"]) for name, row in rows.items()],
        ("word errors", "character errors"),
    )


def _confusion_table(test: Transcripts, wrong: Sequence[int]) -> Table:
    """Count what was most often heard instead of what."""
    edits = itertools.chain.from_iterable(
        metrics.alignment(test.examples.texts[row], test.texts[row]) for row in wrong
    )
    counts = Counter(
        (edit.said or "–", edit.heard or "–") for edit in edits if edit.kind != "equal"
    )
    rows = [(*pair, count) for pair, count in counts.most_common(_MOST_CONFUSIONS)]
    return Table("Most frequent confusions", ("said", "heard", "times"), rows)


def _errors(test: Transcripts, wrong: Sequence[int]) -> Section:
    blocks = [
        f"{test.examples.recordings[row].name}\n"
        + aligned(test.examples.texts[row], test.texts[row])
        for row in wrong[:_MOST_ERRORS]
    ]
    shown = "" if len(wrong) <= _MOST_ERRORS else f" The first {_MOST_ERRORS} are shown."
    return Section(
        "Errors",
        f"{len(wrong):,} of {len(test.texts):,} recordings are not all right.{shown} Words that "
        "differ are in capitals, and missing ones are stars.",
        code="\n\n".join(blocks),
    )


def _pictures(
    run: Run, test: Transcripts, results: Mapping[str, Any], wrong: Sequence[int]
) -> list[Picture]:
    pictures = [
        Picture(
            "learning_curves",
            "Loss in nats per character, and errors of the validation part without a search; the "
            "weights of the marked epoch were kept.",
            "Line charts of loss, word and character error rate over the epochs",
            figures.learning_curves(run.read_json("history.json"), results["best_epoch"]),
        )
    ]
    right = [row for row, heard in enumerate(test.nbest) if heard and row not in set(wrong)]
    chosen = {"right": right[:1], "wrong": [row for row in wrong if test.nbest[row]][:1]}
    for kind, rows in chosen.items():
        for row in rows:
            recording = test.examples.recordings[row]
            pictures.append(
                Picture(
                    f"spectrogram_{kind}",
                    f"{recording.name}. Said: “{test.examples.texts[row]}”. Heard, over the time "
                    "at which each word was emitted: the words above the spectrum.",
                    "Spectrogram with the decoded words aligned over time",
                    spectrogram.spectrogram(*recording.read(), test.nbest[row][0]["words"]),
                    keep_colours=True,
                )
            )
    return pictures
