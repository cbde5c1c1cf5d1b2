"""The page itself: what goes in, how numbers are written, and the files."""

from __future__ import annotations

import base64
import datetime
import io
import itertools
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

_LONGEST_TEXT = 400  # characters of one cell
_SHORT_TEXT = 40  # characters that still fit beside other cells on a phone
_WIDE = 7  # inches; a wider figure takes the page's full width
_UNKNOWN = "–"


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
        figures=_arrange([_embed(*pair) for pair in zip(figures, contents, strict=True)]),
        sections=[(section, section.table and _view(section.table)) for section in sections],
        config=run.read_json("config.json") or {},
        environment={name.replace("_", " "): value for name, value in environment.items()},
        folder=run.folder.name,
        written=datetime.datetime.now(datetime.UTC),
    )
    for name, content in zip(names, contents, strict=True):
        _replace(run, f"{name}.png", content)
    _replace(run, "index.html", page)
    return run.path("index.html")


def _replace(run: Run, name: str, content: bytes) -> None:
    run.write(name, lambda file: file.write(content))


def _render(**values: object) -> bytes:
    from jinja2 import Environment, StrictUndefined

    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template.filters |= {"cut": _cut, "fact": _fact, "number": lambda value: _cells([value])[0]}
    source = Path(__file__).with_name("page.html").read_text("utf-8")
    # Text of the data may hold lone surrogates, which UTF-8 cannot express.
    return template.from_string(source).render(values).encode("utf-8", "replace")


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that no font here covers is drawn as boxes; the tables
        # have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(content, format="png", dpi=2 * figure.dpi)
    return content.getvalue()


def _embed(picture: Picture, content: bytes) -> dict[str, Any]:
    # Twice the pixels that the page shows: sharp on dense screens and on paper.
    width, height = (int.from_bytes(content[at : at + 4], "big") // 2 for at in (16, 20))
    return {
        "picture": picture,
        "data": base64.b64encode(content).decode(),
        "size": (width, height),
        "layout": "wide" if picture.figure.get_figwidth() > _WIDE else "half",
    }


def _arrange(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lay half-width figures out in pairs; one without a neighbour has its caption beside it."""
    for wide, group in itertools.groupby(entries, key=lambda entry: entry["layout"] == "wide"):
        row = list(group)
        if not wide and len(row) % 2:
            row[-1]["layout"] = "alone"
    return entries


def _board(summary: Summary) -> list[dict[str, Any]]:
    """Return the rows of the scoreboard, best first and what is not a number last."""
    groups = {
        "this model": [summary.model],
        "baseline": summary.baselines,
        "published": summary.published,
    }
    entries = [(kind, score) for kind, scores in groups.items() for score in scores]
    sign = -1 if summary.larger_is_better else 1
    entries.sort(key=lambda e: (math.isnan(e[1].value), sign * e[1].value))
    values = _cells([score.value for _, score in entries], summary.percent)
    finite = [abs(score.value) for _, score in entries if math.isfinite(score.value)]
    full = 1.0 if summary.percent else max(finite, default=0.0) or 1.0
    return [
        {
            "kind": kind,
            "score": score,
            "value": value,
            "share": min(abs(score.value) / full, 1) if math.isfinite(score.value) else 0,
        }
        for (kind, score), value in zip(entries, values, strict=True)
    ]


def _view(table: Table) -> dict[str, Any]:
    """Return a table as text, with the columns that hold numbers."""
    for row in table.rows:
        if len(row) != len(table.columns):
            raise DataError(
                f"table '{table.title}': {len(table.columns)} columns, but a row of {len(row)}"
            )
    columns = [[row[index] for row in table.rows] for index in range(len(table.columns))]
    texts = [
        _cells(column, name in table.percent)
        for name, column in zip(table.columns, columns, strict=True)
    ]
    return {
        "title": table.title,
        "columns": list(zip(table.columns, map(_is_numeric, columns), strict=True)),
        "rows": list(zip(*texts, strict=True)),
        # On a phone such a row does not fit side by side.
        "stacked": any(len(text) > _SHORT_TEXT for column in texts for text in column),
    }


def _is_numeric(column: Sequence[object]) -> bool:
    known = [value for value in column if value is not None]
    return bool(known) and all(
        isinstance(value, Real) and not isinstance(value, bool) for value in known
    )


def _cells(column: Sequence[Any], percent: bool = False) -> list[str]:
    """Return a column as text; numbers get as many decimals as the smallest needs."""
    if not _is_numeric(column):
        return [_UNKNOWN if value is None else _cut(value) for value in column]
    known = [value for value in column if value is not None]
    decimals, unit, factor = 0, "", 1
    if percent:
        decimals, unit, factor = 1, "\u00a0%", 100
    elif not all(isinstance(value, Integral) for value in known):
        sizes = [abs(float(value)) for value in known if value and math.isfinite(value)]
        digits = [2 - math.floor(math.log10(size)) for size in sizes] or [0]
        # Beside 192.4 a 0.004 need not force five decimals on both.
        decimals = max(min(max(digits), max(3, min(digits))), 0)
    return [_UNKNOWN if v is None else _number(factor * v, decimals, unit) for v in column]


def _number(value: Any, decimals: int, unit: str) -> str:
    return f"{value:,.{decimals}f}{unit}" if math.isfinite(value) else "not a number"


def _fact(value: object) -> str:
    """Return a value of the configuration or environment, exactly as it was given."""
    if value is None or value in ("", [], {}):
        return _UNKNOWN
    if isinstance(value, Mapping):
        return ", ".join(f"{name}\u00a0{_fact(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return _cut(value)


def _cut(value: object) -> str:
    text = str(value)
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT].rstrip()}… ({len(text):,} characters)"
