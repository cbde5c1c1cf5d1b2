"""A page that stands alone: what goes in, how numbers are written, and the files."""

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
    names_are_code: bool = False
    """The facts are fields of a configuration."""


@dataclass(frozen=True)
class Card:
    """The result at the top of a page, among those that it is compared with.

    Attributes:
        metric: What the scores measure, such as "test accuracy".
        result: What kind of method it is, such as "this model", and its score.
        others: The scores beside it by kind, such as "baseline".
        verdict: The comparison in plain words; '' for none.
        loses: Whether the verdict is a warning.
        larger_is_better: False for errors such as the word error rate.
        percent: Show fractions as percentages.
        rows: What is compared, in the singular.
    """

    metric: str
    result: tuple[str, Score]
    others: Mapping[str, Sequence[Score]] = field(default_factory=dict)
    verdict: str = ""
    loses: bool = False
    larger_is_better: bool = True
    percent: bool = True
    rows: str = "method"


@dataclass(frozen=True)
class Page:
    """Everything that a page shows, from its top to its end.

    Attributes:
        title: Headline.
        text: What was done, in a sentence or two.
        origin: What the page is about, such as "Run imdb".
        card: The result; None where there is none.
        facts: Key numbers by name, below the result.
        tables: Of the results.
        pictures: The figures.
        sections: What comes after the figures.
    """

    title: str
    text: str
    origin: str
    card: Card | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    sections: Sequence[Section] = ()

    def files(self) -> dict[str, bytes]:
        """Draw everything; return the figures as PNG and at last `index.html`, by file name.

        Raises:
            DataError: A picture's name is taken twice or is no plain file name.
        """
        names = [picture.name for picture in self.pictures]
        for name in names:
            if names.count(name) > 1 or not re.fullmatch(r"\w[\w-]*", name):
                raise DataError(
                    f"picture '{name}': each needs a name of its own, of letters, digits, _ and -"
                )
        contents = [_png(picture.figure) for picture in self.pictures]
        html = _render(
            page=self,
            board=_board(self.card) if self.card else [],
            tables=[_view(table) for table in self.tables],
            figures=_arrange([_embed(*pair) for pair in zip(self.pictures, contents, strict=True)]),
            sections=[(each, each.table and _view(each.table)) for each in self.sections],
            written=datetime.datetime.now(datetime.UTC),
        )
        pngs = {f"{name}.png": content for name, content in zip(names, contents, strict=True)}
        return {**pngs, "index.html": html}


def named(facts: Mapping[str, object]) -> dict[str, object]:
    """Return facts with their names as words."""
    return {name.replace("_", " "): value for name, value in facts.items()}


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


def _board(card: Card) -> list[dict[str, Any]]:
    """Return the rows of the scoreboard, best first and what is not a number last."""
    entries = [(True, *card.result)]
    entries += [(False, kind, score) for kind, scores in card.others.items() for score in scores]
    sign = -1 if card.larger_is_better else 1
    entries.sort(key=lambda e: (math.isnan(e[2].value), sign * e[2].value))
    values = _cells([score.value for *_, score in entries], card.percent)
    finite = [abs(score.value) for *_, score in entries if math.isfinite(score.value)]
    full = 1.0 if card.percent else max(finite, default=0.0) or 1.0
    return [
        {
            "is_result": is_result,
            "kind": kind,
            "score": score,
            "value": value,
            "share": min(abs(score.value) / full, 1) if math.isfinite(score.value) else 0,
        }
        for (is_result, kind, score), value in zip(entries, values, strict=True)
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
