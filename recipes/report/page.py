"""The page itself: what goes in, how numbers are written, and the files."""

from __future__ import annotations

import base64
import datetime
import io
import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.run import Run
from zoo.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_TEXT = 600  # characters of one cell
_WIDE = 7  # inches; a wider figure takes the page's full width
_UNKNOWN = "–"
_PERCENT = "\u00a0%"


@dataclass(frozen=True)
class Score:
    """One method's value of the headline metric; a fraction if it is shown as a percentage."""

    name: str
    value: float
    source: str = ""


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


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, or None for what is not known.

    A column of numbers is aligned at the decimal point. The columns named in `percent`
    hold fractions and are shown as percentages.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    percent: Collection[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure of the page and of the run folder.

    Attributes:
        name: Name of the PNG file, without its ending.
        caption: What the reader should see in it.
        alt: What it shows, for those who cannot see it.
        figure: A matplotlib figure; one wider than 7 inches takes the page's full width.
        keep_colours: In dark mode charts are shown inverted; True for photographs, video
            frames and spectrograms, which would become negatives.
    """

    name: str
    caption: str
    alt: str
    figure: Figure
    keep_colours: bool = False


@dataclass(frozen=True)
class Section:
    """A free part of the page: paragraphs split by blank lines, then what else is given."""

    title: str
    text: str = ""
    code: str = ""
    table: Table | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


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
    names = [picture.name for picture in figures]
    for name in names:
        if names.count(name) > 1 or not re.fullmatch(r"\w[\w-]*", name):
            raise DataError(
                f"picture '{name}': each needs a name of its own, of letters, digits, _ and -"
            )
    contents = [_png(picture.figure) for picture in figures]
    environment = run.read_json("environment.json") or {}
    page = _render(
        title=title,
        summary=summary,
        board=_board(summary),
        tables=[_view(table) for table in tables],
        figures=list(map(_embed, figures, contents)),
        sections=[(section, section.table and _view(section.table)) for section in sections],
        config=run.read_json("config.json") or {},
        environment={name.replace("_", " "): value for name, value in environment.items()},
        folder=run.folder.name,
        written=f"{datetime.datetime.now(datetime.UTC):%d %B %Y, %H:%M} UTC",
    )
    for name, content in [*zip((f"{name}.png" for name in names), contents), ("index.html", page)]:
        run.write(name, _writer(content))
    return run.path("index.html")
