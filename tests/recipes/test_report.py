"""The run's page: figures for awkward data, escaping, and a page that stands alone."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recipes.report import (
    Picture,
    Score,
    Section,
    Summary,
    Table,
    confident_mistakes,
    confusion_matrix,
    learning_curves,
    reliability,
    write_page,
)
from recipes.report.page import _cells
from recipes.run import Run
from zoo.errors import DataError

EVIL = "<script>alert('x')</script>"
HISTORY = [
    {"epoch": 1, "loss": 0.68, "validation_loss": 0.6, "accuracy": 0.71},
    {"epoch": 2, "loss": 0.5, "validation_loss": 0.55, "accuracy": 0.75},
]


def summary(model: float = 0.81, baseline: float = 0.797, **other: object) -> Summary:
    scores = {"model": Score("BiLSTM", model), "baselines": [Score("NB-SVM", baseline)]}
    return Summary("A model.", "test accuracy", **{**scores, **other})  # type: ignore[arg-type]


def drawn(figure: object) -> np.ndarray:
    """Return the pixels of a figure, which must not be empty."""
    content = io.BytesIO()
    figure.savefig(content, format="png")  # type: ignore[attr-defined]
    pixels = np.asarray(Image.open(content).convert("L"))
    assert pixels.std() > 1
    return pixels


class Page(HTMLParser):
    """Collects the tags, the visible text and everything that a browser would load."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        names = ("src", "srcset", "data", "poster", "action", "background")
        self.loads += [values[name] or "" for name in names if name in values]
        self.loads += [values["href"] or ""] if tag != "a" and "href" in values else []
        assert not [name for name in values if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    config = {"units": 64, "learning_rate": 0.0003, "data": EVIL}
    run = Run(tmp_path / "run", "sentiment", config)
    yield run
    # A run is locked until its process ends, and this one has many runs before it.
    run._lock.close()


def page(run: Run, *, headline: Summary | None = None, **content: object) -> Page:
    path = write_page(run, "Sentiment", headline or summary(), **content)  # type: ignore[arg-type]
    assert path == run.path("index.html")
    return Page(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        HISTORY[:1],
        [{"epoch": 1, "loss": math.nan, "accuracy": math.nan}],
        [{**row, "accuracy": math.inf} for row in HISTORY],
        [HISTORY[0], {"epoch": 2, "loss": 0.5}],
        [{"epoch": 1, "loss": 1.0, **{f"metric_{i}": i for i in range(4)}}],
        [{"epoch": i, "loss": 1 / i, "$x_{": 0.5} for i in range(1, 60)],
    ],
    ids=["usual", "one epoch", "NaN", "infinite", "missing", "five panels", "long, odd name"],
)
def test_learning_curves_take_any_history(history: list[dict[str, float]]) -> None:
    figure = learning_curves(history, best_epoch=1)
    drawn(figure)
    names = {name for row in history for name in row if "validation_" not in name}
    assert len(figure.axes) == len(names - {"epoch"})


def test_learning_curves_show_train_and_validation_in_one_panel() -> None:
    loss, accuracy = learning_curves(HISTORY, best_epoch=2).axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "validation"]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["validation"]
    assert loss.get_title(loc="right") == "epoch 2: 0.5500"


def test_learning_curves_without_a_best_epoch_mark_none() -> None:
    for best_epoch in (None, 0):
        figure = learning_curves(HISTORY, best_epoch)
        assert [axes.get_title(loc="right") for axes in figure.axes] == ["", ""]


def test_learning_curves_refuse_an_empty_history() -> None:
    with pytest.raises(DataError, match="at least one epoch"):
        learning_curves([])


@pytest.mark.parametrize("classes", [1, 2, 16, 17, 40])
def test_confusion_matrix_writes_numbers_while_they_can_be_read(classes: int) -> None:
    matrix = np.eye(classes, dtype=int) * 1234 + 5
    figure = confusion_matrix(matrix, [f"class {i}" for i in range(classes)])
    drawn(figure)
    assert len(figure.axes[0].texts) == (classes**2 if classes <= 16 else 0)
    assert figure.get_figwidth() <= 10.8


def test_confusion_matrix_has_true_labels_on_the_rows() -> None:
    axes = confusion_matrix([[8, 2], [0, 0]], ["bad", "good"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "good"]
    assert axes.yaxis_inverted()
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[1, 0] == "2\n20.0%"
    assert texts[0, 1] == "0"  # no row of this class: no percentage


def test_confusion_matrix_draws_hostile_labels() -> None:
    labels = ["very " * 100, "$\\frac{", "line\nbreak\x00", "映画", "\ud800"]
    shown = confusion_matrix(np.ones((5, 5), dtype=int), labels).axes[0].get_yticklabels()
    assert max(len(label.get_text()) for label in shown) <= 22


def test_confusion_matrix_refuses_a_matrix_of_another_size() -> None:
    with pytest.raises(DataError, match=r"3 labels need 3 rows and columns, received \[2, 2\]"):
        confusion_matrix([[1, 0], [0, 1]], ["a", "b", "c"])


@pytest.mark.parametrize("classes", [2, 40])
def test_reliability_counts_every_row(classes: int) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(classes, 0.2), 500)
    figure = reliability(probabilities, random.integers(0, classes, 500))
    drawn(figure)
    counts = [int(text.get_text().replace(",", "")) for text in figure.axes[1].texts]
    assert sum(counts) == 500


def test_reliability_shows_accuracy_at_mean_confidence() -> None:
    figure = reliability([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [1.0, 0.0]], [0, 1, 1, 0])
    points = figure.axes[0].lines[1].get_xydata()
    np.testing.assert_allclose(points, [[0.9, 2 / 3], [1.0, 1.0]])


def test_reliability_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataError, match=r"received \[0, 2\] and \[0\]"):
        reliability(np.zeros((0, 2)), [])
    with pytest.raises(DataError, match="labels"):
        reliability([[0.5, 0.5]], [0, 1])


@pytest.mark.parametrize(
    ("headline", "verdict", "loses"),
    [
        (summary(), "The model beats its strongest baseline, NB-SVM, by 1.3 points.", False),
        (summary(0.78), "loses to its baseline NB-SVM by 1.7 points: prefer the baseline", True),
        (summary(0.7968), "by less than 0.1 points", True),
        (summary(0.797), "equals its strongest baseline, NB-SVM", False),
        (summary(math.nan), "no test accuracy: the value is not a number", True),
        (summary(0.7, math.nan), "", False),
        (summary(0.2, 0.1, larger_is_better=False), "loses to its baseline NB-SVM by 10.0", True),
        (summary(3.5, 4.0, larger_is_better=False, percent=False), "NB-SVM, by 0.5.", False),
    ],
)
def test_verdict_compares_with_the_strongest_baseline(
    headline: Summary, verdict: str, loses: bool, run: Run
) -> None:
    assert verdict in headline.verdict and bool(verdict) == bool(headline.verdict)
    assert headline.loses is loses
    assert headline.verdict in page(run, headline=headline).text


def test_page_loads_nothing_and_embeds_the_pngs_of_the_folder(run: Run) -> None:
    figures = [
        Picture("curves", "A caption.", "Two lines.", learning_curves(HISTORY, 1)),
        Picture("frames", "Frames.", "Frames.", confusion_matrix([[1]], ["a"]), keep_colours=True),
    ]
    published = [Score("CNN", 0.811, "Kim 2014, https://aclanthology.org/D14-1181")]
    result = page(run, headline=summary(published=published), figures=figures)
    assert result.loads and all(load.startswith("data:image/png;base64,") for load in result.loads)
    assert not {"script", "link", "iframe", "object", "base"} & set(result.tags)
    source = run.path("index.html").read_text("utf-8")
    assert not re.search(r"url\(|@import|@font-face", source)
    assert [image["alt"] for image in result.images] == ["Two lines.", "Frames."]
    assert [image.get("class") for image in result.images] == ["chart", None]
    for picture, image in zip(figures, result.images, strict=True):
        file = run.path(f"{picture.name}.png")
        with Image.open(file) as png:
            png.verify()
        with Image.open(file) as png:
            # Twice as many pixels as the page shows.
            assert (2 * int(image["width"] or 0), 2 * int(image["height"] or 0)) == png.size
    assert "A caption." in result.text and "Kim 2014" in result.text


def test_page_escapes_every_text(run: Run) -> None:
    score = Score(EVIL, 0.5, EVIL)
    headline = Summary(EVIL, EVIL, score, [score], [score], facts={EVIL: EVIL})
    table = Table(EVIL, (EVIL, '" onload="x'), [(EVIL, '" onload="x')])
    section = Section(EVIL, EVIL, EVIL, table, {EVIL: EVIL})
    picture = Picture("curves", EVIL, f'{EVIL}" onload="x', learning_curves(HISTORY))
    path = write_page(run, EVIL, headline, [table], [picture], [section])
    source = path.read_text("utf-8")
    assert "<script" not in source
    assert Page(source).text.count(EVIL) > 15


def test_page_holds_text_that_cannot_be_encoded_or_is_endless(run: Run) -> None:
    table = Table("Texts", ("text",), [("\ud800",), ("x" * 100_000,), ("فيلم 🎬",), ("",)])
    result = page(run, tables=[table])
    assert "xxx… (100,000 characters)" in result.text and "فيلم 🎬" in result.text
    assert run.path("index.html").stat().st_size < 40_000


def test_page_shows_configuration_environment_and_sections(run: Run) -> None:
    command = "python -m recipes sentiment train --seed 0"
    sections = [Section("Reproduce", "First.\n\nSecond.", command), Section("Mistakes", table=None)]
    text = page(run, headline=summary(facts={"parameters": 712450}), sections=sections).text
    for part in ("learning_rate 0.0003", "units 64", "tensorflow 2.", "git commit", command):
        assert part in text.replace("\u00a0", " ")
    assert "parameters 712,450" in text and "First. Second." in text


def test_scores_stand_best_first(run: Run) -> None:
    headline = summary(0.78, published=[Score("CNN", 0.811, "Kim 2014"), Score("odd", math.nan)])
    board = page(run, headline=headline).text.partition("method")[2]
    names = ("CNN", "NB-SVM", "BiLSTM", "odd")
    assert sorted(names, key=board.index) == list(names)


@pytest.mark.parametrize(
    ("column", "percent", "texts"),
    [
        ([0.8123, None, 1], True, ["81.2\u00a0%", "–", "100.0\u00a0%"]),
        ([1234567, 0], False, ["1,234,567", "0"]),
        ([192.4, 2.31, 0.004], False, ["192.400", "2.310", "0.004"]),
        ([0.00012, 0.00034], False, ["0.000120", "0.000340"]),
        ([12345.6, math.nan], False, ["12,346", "not a number"]),
        ([0.0], False, ["0"]),
        ([np.float32(0.5), np.int64(2)], False, ["0.500", "2.000"]),
        (["0.5", 1], False, ["0.5", "1"]),
        ([True, None], False, ["True", "–"]),
    ],
)
def test_numbers_of_a_column_share_their_decimals(
    column: list[object], percent: bool, texts: list[str]
) -> None:
    assert _cells(column, percent) == texts


def test_confident_mistakes_are_the_surest_wrong_rows() -> None:
    table = confident_mistakes("abcd", "++--", "+-++", [0.99, 0.6, 0.9, 0.7], limit=2)
    assert list(table.rows) == [("c", "-", "+", 0.9), ("d", "-", "+", 0.7)]


def test_no_mistakes_leave_an_empty_table(run: Run) -> None:
    table = confident_mistakes(["a"], ["+"], ["+"], [0.9])
    assert "None." in page(run, sections=[Section("Mistakes", table=table)]).text


def test_page_is_replaced_as_a_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page(run)
    before = run.path("index.html").read_bytes()
    files = sorted(path.name for path in run.folder.iterdir())
    broken = learning_curves(HISTORY)
    monkeypatch.setattr(broken, "savefig", lambda *_, **__: 1 / 0)
    figures = [
        Picture("good", "", "", learning_curves(HISTORY)),
        Picture("broken", "", "", broken),
    ]
    with pytest.raises(ZeroDivisionError):
        page(run, headline=summary(0.1), figures=figures)
    assert run.path("index.html").read_bytes() == before
    assert sorted(path.name for path in run.folder.iterdir()) == files


@pytest.mark.parametrize("names", [("../a",), ("a", "a"), ("",), ("a b",)])
def test_picture_names_are_plain_and_unique(run: Run, names: tuple[str, ...]) -> None:
    figure = learning_curves(HISTORY)
    with pytest.raises(DataError, match="needs a name of its own"):
        page(run, figures=[Picture(name, "", "", figure) for name in names])
    assert not list(run.folder.glob("*.png"))


def test_rows_must_fit_their_columns(run: Run) -> None:
    with pytest.raises(DataError, match="table 'T': 2 columns, but a row of 1"):
        page(run, tables=[Table("T", ("a", "b"), [("x",)])])


def test_import_and_drawing_stay_light() -> None:
    code = (
        "import sys, recipes.report as r; late = {'matplotlib', 'jinja2', 'tensorflow'};"
        "assert not late & set(sys.modules);"
        "r.learning_curves([{'epoch': 1, 'loss': 1.0}]);"
        "assert not {'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
