from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.datasets import Fractions, TextExamples, normalise, part_of, split_examples
from zoo.errors import ConfigError, DataError

TENTHS = Fractions(validation=0.1, test=0.1)
TEXTS = tuple(f"sentence number {n}" for n in range(5000))


def examples(texts=TEXTS, splits=None):
    labels = tuple("ab"[row % 2] for row in range(len(texts)))
    return TextExamples("numbered", tuple(texts), labels, splits=splits)


def test_normalise():
    assert normalise("  \uff21 Stra\u00dfe\t\n\u00a0x ") == "a strasse x"


def test_pinned_parts():
    # These must never change: a change would move rows between the parts of existing runs.
    parts = [part_of(text, TENTHS) for text in TEXTS[:60]]
    assert [row for row, part in enumerate(parts) if part == "validation"] == [1, 2, 14, 22, 25, 42]
    assert [row for row, part in enumerate(parts) if part == "test"] == [49, 57]


def test_another_salt_gives_another_split():
    assert [part_of(text, TENTHS, salt="1") for text in TEXTS] != [
        part_of(text, TENTHS) for text in TEXTS
    ]


@given(st.text(), st.sampled_from([str.upper, str.lower, lambda text: f" {text}\n"]))
def test_equal_texts_share_a_part(text, change):
    if normalise(change(text)) == normalise(text):
        assert part_of(change(text), TENTHS) == part_of(text, TENTHS)


def test_half_a_surrogate_pair_has_a_part():
    assert part_of("\ud800", TENTHS) in ("train", "validation", "test")


def test_fractions_are_met():
    # 5,000 rows at 10 %: standard deviation sqrt(5000 * 0.1 * 0.9) = 21 rows; 4 of them allowed.
    train, validation, test = split_examples(examples(), TENTHS)
    assert len(train) + len(validation) + len(test) == 5000
    assert abs(len(validation) - 500) < 85 and abs(len(test) - 500) < 85


def test_new_rows_move_no_other():
    before = split_examples(examples(), TENTHS)
    after = split_examples(examples(("new", *TEXTS, "newer")), TENTHS)
    for old, new in zip(before, after, strict=True):
        assert set(old.texts) <= set(new.texts) <= set(old.texts) | {"new", "newer"}


def test_a_larger_test_part_contains_the_smaller():
    small = split_examples(examples(), TENTHS).test.texts
    large = split_examples(examples(), Fractions(validation=0.1, test=0.3)).test.texts
    assert set(small) < set(large)


def test_official_test_part_is_kept():
    official = tuple("test" if row < 1000 else "train" for row in range(5000))
    split = split_examples(examples(splits=official), TENTHS)
    assert split.test.texts == TEXTS[:1000]
    assert 330 < len(split.validation) < 470  # 10 % of the 4,000 others
    assert set(split.validation.texts) < set(TEXTS[1000:])


def test_all_parts_official():
    official = ("train",) * 4998 + ("validation", "test")
    split = split_examples(examples(splits=official), TENTHS)
    assert [len(part) for part in split] == [4998, 1, 1]


def test_empty_part():
    with pytest.raises(DataError, match="no row falls into the validation part.* 1 rows"):
        split_examples(examples(["only"]), Fractions(validation=0.0, test=0.0))


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.1)])
def test_fractions_out_of_range(fractions):
    with pytest.raises(ConfigError, match="less than 1"):
        Fractions(*fractions)
