from __future__ import annotations

import dataclasses
import gzip
import hashlib
import subprocess
import sys

import pytest

from tests.zoo.datasets.test_package_index import tar_gz
from zoo import datasets
from zoo.datasets import cache, imdb, movie_snippets, rt_polarity
from zoo.errors import DataUnavailableError, UnknownNameError


def put(folder, path, content):
    """Write a file below the cache folder and return its sha256."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="did you mean 'rt-polarity'"):
        datasets.load("rt_polarity")


def test_names_are_the_examples_names():
    assert datasets.NAMES == ("movie-snippets", "rt-polarity", "imdb", "synthetic")


def test_import_is_cheap():
    code = "import sys, zoo.datasets; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    heavy = {"tensorflow", "keras", "numpy", "pooch", "requests", "rich", "sklearn"}
    assert not heavy & set(modules.split())


def test_movie_snippets(data_folder, monkeypatch):
    table = "\r\n".join(
        [
            "1\t2.5\tA ''fine\u00e9'' film.",
            "2\t-0.6\tToo tepid\u2028biopic",
            "3\t0.0\tNeither",
            "4\t1.5\ta ''FINE\u00e9''  film.",
            "5\t-3\tEh.",
        ]
    ).encode()
    inner = tar_gz({movie_snippets.TABLE: table, "hutto_ICWSM_2014/other.txt": b"-"})
    outer = tar_gz({"vaderSentiment-3.3.2/setup.py": b"-", movie_snippets.ARCHIVE: inner})
    sha256 = put(data_folder, movie_snippets.DISTRIBUTION.path, outer)
    pinned = dataclasses.replace(movie_snippets.DISTRIBUTION, sha256=sha256)
    monkeypatch.setattr(movie_snippets, "DISTRIBUTION", pinned)
    examples = datasets.load("movie-snippets")
    assert examples.texts == ("A ''fine\u00e9'' film.", "Too tepid\u2028biopic", "Eh.")
    assert examples.labels == ("positive", "negative", "negative")
    assert examples.ratings == (2.5, -0.6, -3.0)
    assert examples.splits is None


def test_rt_polarity(data_folder, monkeypatch):
    contents = {"positive": "fine \x85 film . \nok \n", "negative": "caf\u00e9 is bad . \n"}
    files = {}
    for label, text in contents.items():
        file = rt_polarity.FILES[label]
        sha256 = put(data_folder, file.path, text.encode())
        files[label] = dataclasses.replace(file, sha256=sha256)
    monkeypatch.setattr(rt_polarity, "FILES", files)
    examples = datasets.load("rt-polarity")
    assert examples.texts == ("fine \x85 film .", "ok", "caf\u00e9 is bad .")
    assert examples.labels == ("positive", "positive", "negative")


REVIEWS = {
    "train": {"neg/2_1": "bad<br />really", "neg/10_4": "w\u00f6rse", "pos/0_9": "good\tone"},
    "test": {"pos/3_10": " line\r\nend\u2028here ", "neg/1_2": "dull"},
}
SORTED = [
    ("bad<br />really", "negative", "train", 1.0),
    ("w\u00f6rse", "negative", "train", 4.0),
    ("good one", "positive", "train", 9.0),
    ("dull", "negative", "test", 2.0),
    (" line  end\u2028here ", "positive", "test", 10.0),
]


def rows_of(examples):
    return list(
        zip(examples.texts, examples.labels, examples.splits, examples.ratings, strict=True)
    )


def test_imdb_from_the_official_archive(data_folder, monkeypatch):
    files = {"aclImdb/README": b"-", "aclImdb/train/unsup/0_0.txt": b"unlabelled"}
    for part, reviews in REVIEWS.items():
        for name, text in reviews.items():
            files[f"aclImdb/{part}/{name}.txt"] = text.encode()
    sha256 = put(data_folder, imdb.ARCHIVE.path, tar_gz(files))
    monkeypatch.setattr(imdb, "ARCHIVE", dataclasses.replace(imdb.ARCHIVE, sha256=sha256))
    assert rows_of(datasets.load("imdb")) == SORTED


def test_imdb_from_tables(data_folder, monkeypatch):
    tables = {}
    for part, (path, _) in imdb.TABLES.items():
        lines = ["id\tlabel\trating\tamlm_split\ttext"]
        for text, label, split, rating in SORTED:
            if split == part:
                lines.append(f"{label[:3]}_{len(lines)}_{rating:.0f}\t-\t-\t-\t{text}")
        content = gzip.compress("\n".join([*lines, ""]).encode())
        tables[part] = (path, put(data_folder, path, content))
    monkeypatch.setattr(imdb, "TABLES", tables)
    assert rows_of(datasets.load("imdb")) == SORTED


def test_unavailable_names_the_archive(monkeypatch):
    def refuse(**_):
        raise ConnectionError

    monkeypatch.setattr("pooch.retrieve", refuse)
    with pytest.raises(DataUnavailableError) as caught:
        datasets.load("imdb")
    assert imdb.ARCHIVE.url in str(caught.value) and imdb.ARCHIVE.sha256 in str(caught.value)


def test_synthetic_is_deterministic_and_balanced():
    examples = datasets.keyword_sentences(count=200, seed=3)
    assert examples == datasets.keyword_sentences(count=200, seed=3)
    assert examples != datasets.keyword_sentences(count=200, seed=4)
    assert examples.texts[:50] == datasets.keyword_sentences(count=50, seed=3).texts
    assert examples.class_counts == {"negative": 100, "positive": 100}


def test_synthetic_labels_follow_from_the_texts():
    labels = {}
    examples = datasets.load("synthetic")
    for text, label in zip(examples.texts, examples.labels, strict=True):
        assert labels.setdefault(text, label) == label


def test_synthetic_needs_the_order_of_words():
    bags: dict[tuple[str, ...], set[str]] = {}
    examples = datasets.keyword_sentences(count=5000, seed=0)
    for text, label in zip(examples.texts, examples.labels, strict=True):
        bag = tuple(sorted(text.replace(",", "").replace(".", "").split()))
        bags.setdefault(bag, set()).add(label)
    assert sum(len(labels) == 2 for labels in bags.values()) > 100


@pytest.mark.parametrize(
    ("name", "paths", "counts"),
    [
        (
            "movie-snippets",
            [movie_snippets.DISTRIBUTION.path],
            {"negative": 5325, "positive": 5241},
        ),
        (
            "rt-polarity",
            [file.path for file in rt_polarity.FILES.values()],
            {"negative": 5331, "positive": 5331},
        ),
        (
            "imdb",
            [path for path, _ in imdb.TABLES.values()],
            {"negative": 25000, "positive": 25000},
        ),
    ],
)
def test_real_data(real_data, name, paths, counts):
    for path in paths:
        if not any((folder / path).is_file() for folder in cache._folders()):
            pytest.skip(f"{path} is in no cache folder")
    examples = datasets.load(name)
    assert examples.name == name and examples.source is not None
    assert examples.class_counts == counts
    assert all(text.strip() for text in examples.texts)
