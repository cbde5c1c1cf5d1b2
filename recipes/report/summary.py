"""The page of a training: its score beside baselines and marks, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recipes.report.page import Card, Page, Picture, Score, Section, Table, named
from recipes.run import Run


@dataclass(frozen=True)
class Summary:
    """The top of the page.

    Attributes:
        text: In a sentence or two, what was trained on what.
        metric: What the scores measure, such as "test accuracy".
        model: The trained model's score.
        baselines: Trivial methods, measured in the same run.
        published: Marks from the literature, each with its source.
        larger_is_better: False for errors such as the word error rate.
        percent: Show fractions as percentages.
        facts: Further key numbers by name, such as the parameters.
    """

    text: str
    metric: str
    model: Score
    baselines: Sequence[Score] = ()
    published: Sequence[Score] = ()
    larger_is_better: bool = True
    percent: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def loses(self) -> bool:
        """Whether a baseline is better than the model, or the model has no score."""
        best = self._strongest
        return math.isnan(self.model.value) or (best is not None and self._lead(best) < 0)

    @property
    def verdict(self) -> str:
        """The model against its strongest baseline, in plain words; '' without a baseline."""
        best = self._strongest
        if math.isnan(self.model.value):
            return f"The model has no {self.metric}: the value is not a number."
        if best is None:
            return ""
        lead = self._lead(best)
        if lead == 0:
            return f"The model equals its strongest baseline, {best.name}."
        by = self._difference(abs(lead))
        if lead > 0:
            return f"The model beats its strongest baseline, {best.name}, by {by}."
        return f"The model loses to its baseline {best.name} by {by}: prefer the baseline here."

    @property
    def card(self) -> Card:
        """The model's score among those that it is compared with."""
        return Card(
            self.metric,
            ("this model", self.model),
            {"baseline": self.baselines, "published": self.published},
            self.verdict,
            self.loses,
            self.larger_is_better,
            self.percent,
        )

    @property
    def _strongest(self) -> Score | None:
        numbers = [score for score in self.baselines if not math.isnan(score.value)]
        choose = max if self.larger_is_better else min
        return choose(numbers, key=lambda score: score.value, default=None)

    def _lead(self, other: Score) -> float:
        lead = self.model.value - other.value
        return lead if self.larger_is_better else -lead

    def _difference(self, size: float) -> str:
        if not self.percent:
            return f"{size:.3g}"
        return f"{100 * size:.1f} points" if size >= 0.0005 else "less than 0.1 points"


def confident_mistakes(
    texts: Sequence[str],
    labels: Sequence[str],
    predictions: Sequence[str],
    confidences: Sequence[float],
    limit: int = 20,
) -> Table:
    """Return the wrong rows that the model was surest of, surest first."""
    rows = zip(texts, labels, predictions, confidences, strict=True)
    wrong = sorted((row for row in rows if row[1] != row[2]), key=lambda row: -row[3])
    columns = ("text", "true", "predicted", "probability")
    return Table("Most confident mistakes", columns, wrong[:limit], percent=("probability",))


def write_page(
    run: Run,
    title: str,
    summary: Summary,
    tables: Sequence[Table] = (),
    figures: Sequence[Picture] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Write the figures as PNG and `index.html` into the run folder; return the page.

    Configuration and environment are taken from the run folder. Everything is drawn
    before anything is written, and the page is written last.

    Raises:
        DataError: A picture's name is taken twice or is no plain file name.
    """
    environment = run.read_json("environment.json") or {}
    page = Page(
        title,
        summary.text,
        f"Run {run.folder.name}",
        summary.card,
        summary.facts,
        tables,
        figures,
        [
            *sections,
            Section("Configuration", facts=run.read_json("config.json") or {}, names_are_code=True),
            Section("Environment", facts=named(environment)),
        ],
    )
    for name, content in page.files().items():
        _replace(run, name, content)
    return run.path("index.html")


def _replace(run: Run, name: str, content: bytes) -> None:
    run.write(name, lambda file: file.write(content))
