from __future__ import annotations

import csv
import gzip
import json

import pytest

from zoo.datasets import check_labels, read_table
from zoo.errors import DataError, MisuseError, UnknownNameError

GOOD_ROWS = [("good film", "pos"), ("bad film", "neg")] * 5


def as_csv(rows, header="text,label"):
    return "\n".join([header, *(f"{text},{label}" for text, label in rows), ""])


def as_jsonl(rows):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


@pytest.fixture
def read(tmp_path):
    """Write a file and read it as a table with the columns text and label."""

    def write_and_read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, "text", "label", **options)

    return write_and_read


@pytest.fixture
def message(read):
    """Return the one-line error that reading the file gives."""

    def failing(name, content, kind=DataError, **options):
        with pytest.raises(kind) as caught:
            read(name, content, **options)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return failing


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".csv.gz", ".JSONL"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format(read, ending, mark):
    content = as_jsonl(GOOD_ROWS) if "json" in ending.lower() else as_csv(GOOD_ROWS)
    content = (mark + (content.replace(",", "\t") if ending == ".tsv" else content)).encode()
    examples = read(
        f"a{ending}", gzip.compress(content, mtime=0) if ending.endswith("gz") else content
    )
    assert examples.name == f"a{ending}"
    assert list(zip(examples.texts, examples.labels, strict=True)) == GOOD_ROWS
    assert examples.splits is None and examples.ratings is None


def test_columns_in_any_order_and_crlf(read):
    rows = "".join(f"{n},{label},{text}\r\n" for n, (text, label) in enumerate(GOOD_ROWS))
    assert read("a.csv", "id,label,text\r\n" + rows).texts[1] == "bad film"


def test_csv_quotes_and_blank_lines(read):
    rows = as_csv(GOOD_ROWS) + '\n"a, ""b""\nc",pos\n\n'
    assert read("a.csv", rows).texts[-1] == 'a, "b"\nc'


def test_tsv_knows_no_quotes(read):
    rows = as_csv(GOOD_ROWS).replace(",", "\t") + 'a "b\tpos\n'
    assert read("a.tsv", rows).texts[-1] == 'a "b'


def test_unicode_line_separators_stay_inside_texts(read):
    rows = [*GOOD_ROWS, ("a\u2028b\x85c", "pos")]
    assert read("a.tsv", as_csv(rows).replace(",", "\t")).texts[-1] == "a\u2028b\x85c"
    jsonl = "".join(json.dumps({"text": t, "label": v}, ensure_ascii=False) + "\n" for t, v in rows)
    assert read("a.jsonl", jsonl).texts[-1] == "a\u2028b\x85c"


def test_huge_field(read):
    limit = csv.field_size_limit()
    huge = "x" * 300_000
    assert read("a.csv", as_csv([*GOOD_ROWS, (huge, "pos")])).texts[-1] == huge
    assert csv.field_size_limit() == limit


def test_labels_become_strings(read):
    labels = [1, True, 2.5, "x"]
    examples = read("a.jsonl", as_jsonl([("t", label) for label in labels * 5]))
    assert examples.labels[:4] == ("1", "true", "2.5", "x")


def test_many_classes(read):
    rows = [(f"t{n}", f"c{n % 30}") for n in range(150)]
    assert len(read("a.csv", as_csv(rows)).classes) == 30


def test_split_column(read):
    rows = [(text, f"{label},train") for text, label in GOOD_ROWS] + [("x", "pos,test")]
    examples = read("a.csv", as_csv(rows, header="text,label,split"))
    assert examples.splits == ("train",) * 10 + ("test",)


def test_empty_text_is_a_text(read):
    assert read("a.csv", as_csv([*GOOD_ROWS, ("", "pos")])).texts[-1] == ""


def test_missing_file(read, tmp_path):
    read("reviews.csv", as_csv(GOOD_ROWS))
    with pytest.raises(DataError, match="no file .*review.csv; did you mean 'reviews.csv'"):
        read_table(tmp_path / "review.csv", "text", "label")
    with pytest.raises(DataError, match="there is no folder .*absent"):
        read_table(tmp_path / "absent/review.csv", "text", "label")


def test_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path, "text", "label")


def test_column_of_any_format(message):
    for name, content in {"a.csv": as_csv(GOOD_ROWS), "a.jsonl": as_jsonl(GOOD_ROWS)}.items():
        error = message(name, content.replace("label", "labels"), kind=UnknownNameError)
        assert "'label'; did you mean 'labels'? (known: labels, text)" in error


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "x", "must end in one of .csv, .tsv, .jsonl"),
        ("a.gz", "x", "must end in one of .csv, .tsv, .jsonl"),
        ("a.csv.gz", "plain", "cannot read"),
        ("a.csv.gz", gzip.compress(b"text,label\n" * 99, mtime=0)[:-9], "cannot read"),
        ("a.csv", "", "is empty"),
        ("a.csv", "\ufeff\n \n", "is empty"),
        ("a.csv", "text,label\n", "has a header and no rows"),
        ("a.tsv", "text\tlabel\n\n", "has a header and no rows"),
        ("a.csv", "text,label,text\n", "'text' stands there twice"),
        ("a.csv", b"text,label\nok,a\ncaf\xe9,b\n", "line 3: byte 0xe9 is not UTF-8"),
        ("a.csv", b"\xef\xbb\xbftext,label\ncaf\xe9,b\n", "line 2: byte 0xe9 is not UTF-8"),
        ("a.csv", "text,label\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        ("a.csv", b"text,label\na\0,b\n", "line 2: a zero byte"),
        ("a.csv", "text,label\na,b\nc\n", "line 3: 1 fields, but the header names 2"),
        ("a.csv", 'text,label\n"a\nb",x\nc,d,e\n', "line 4: 3 fields, but the header names 2"),
        ("a.tsv", "text\tlabel\na\n", "line 2: 1 fields"),
        ("a.csv", 'text,label\na,b\n"c,d\ne,f\n', "line 3: not a CSV row"),
        ("a.csv", "text,label\na,b\nc,\n", "line 3: no label; every row needs one in 'label'"),
        ("a.csv", "text,label\na,x\nb,x\n", "all 2 rows have the label 'x' in 'label'"),
        ("a.csv", "text,label\n" + ",x\n,y\n" * 5, "every text in 'text' is blank"),
        ("a.csv", as_csv(GOOD_ROWS) + "x,rare\n", "label 'rare' has 1 row; each needs at least 5"),
        ("a.csv", "text,label,split\na,b,tests\n", "line 2: 'tests' is not a part; did you mean"),
        ("a.jsonl", as_jsonl(GOOD_ROWS) + "{'text'", "line 11: not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", '\n["a", "b"]\n', "line 2: every line must be a JSON object, and this is an"),
        ("a.jsonl", '"a"\n', "this is a string"),
        ("a.jsonl", '{"text": 3, "label": "x"}\n', "line 1: 'text' must be a text, and is a num"),
        ("a.jsonl", as_jsonl(GOOD_ROWS) + '{"label": "x"}', "line 11: 'text' must be a text"),
        ("a.jsonl", as_jsonl(GOOD_ROWS) + '{"text": "x"}', "line 11: no label"),
        ("a.jsonl", '{"text": "x", "label": null}', "line 1: no label"),
        ("a.jsonl", '{"text": "x", "label": {}}', "line 1: 'label' must be a text, and is an obj"),
        ("a.jsonl", '{"text": "\\ud800", "label": "x"}', "line 1: 'text' holds half a character"),
    ],
)
def test_error(message, name, content, expected):
    assert expected in message(name, content)


def test_rows_per_class_can_be_chosen(read, message):
    assert len(read("a.csv", "text,label\na,x\nb,y\n", min_rows_per_class=1)) == 2
    assert "at least 6" in message("a.csv", as_csv(GOOD_ROWS), min_rows_per_class=6)


def test_check_labels():
    check_labels(["a", "b", "b"], ["b"], "test")
    with pytest.raises(MisuseError, match="label 'positve' occurs in the test part.*'positive'"):
        check_labels(["positive", "negative"], ["positive", "positve"], "test")


def test_a_split_that_only_later_rows_name_is_refused(read):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y", "split": "test"}] * 6
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    with pytest.raises(DataError, match="line 3: None is not a part"):
        read("a.jsonl", lines)
