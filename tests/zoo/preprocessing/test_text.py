"""Text to subword ids: whatever a row holds, it gets tokens or a status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as some

from zoo.errors import ConfigError, DataError
from zoo.preprocessing import TextEncoder, learn_vocabulary
from zoo.preprocessing.text import EMPTY, INVALID, PAD

HUGE = b"long " * 20_000


def encode(encoder: TextEncoder, texts: Sequence[bytes | str]) -> tuple[np.ndarray, list[str]]:
    """Return the tokens and the statuses of a batch."""
    answer = encoder({"text": tf.constant(texts, tf.string)})
    return answer["tokens"].numpy(), [status.decode() for status in answer["status"].numpy()]


def pieces(vocabulary: bytes) -> sentencepiece.SentencePieceProcessor:
    """Return the same vocabulary outside TensorFlow."""
    return sentencepiece.SentencePieceProcessor(model_proto=vocabulary)


class TestStatus:
    """What is said about a row."""

    @pytest.mark.parametrize("text", [b"", b" ", b" \t\r\n", "\u3000\u200b".encode()])
    def test_a_text_of_nothing_or_white_space_is_empty(self, encoder: TextEncoder, text: bytes):
        tokens, status = encode(encoder, [text])
        assert (tokens.tolist(), status) == ([[PAD]], [EMPTY])

    @pytest.mark.parametrize(
        "text",
        [
            b"\xff\xfe",
            b"good \xe2\x82",  # a character cut in the middle
            b"\xed\xa0\x80",  # half of a surrogate pair
            b"\xc0\x80",  # NUL in two bytes
            b"\xf4\x90\x80\x80",  # behind the last character
        ],
    )
    def test_bytes_that_are_not_utf8_are_named(self, encoder: TextEncoder, text: bytes):
        tokens, status = encode(encoder, [text])
        assert (tokens.tolist(), status) == ([[PAD]], [INVALID])

    @pytest.mark.parametrize(
        "text", ["😀 🌈", "👩\u200d👩\u200d👧", "שלום עולם", "مرحبا", "a\0b", "\0", "e\u0301"]
    )
    def test_any_script_is_read(self, encoder: TextEncoder, text: str):
        tokens, status = encode(encoder, [text.encode()])
        assert status == [""]
        assert np.all(tokens != PAD)

    def test_a_byte_order_mark_is_no_part_of_the_text(self, encoder: TextEncoder):
        tokens, status = encode(encoder, [b"\xef\xbb\xbfgood film", b"good film", b"\xef\xbb\xbf"])
        assert status == ["", "", EMPTY]
        assert tokens[0].tolist() == tokens[1].tolist()


class TestShape:
    """How long the rows are."""

    def test_there_is_always_one_step(self, encoder: TextEncoder):
        assert encode(encoder, [b"", b"\xff"])[0].shape == (2, 1)

    def test_a_batch_of_no_rows_is_legal(self, encoder: TextEncoder):
        tokens, status = encode(encoder, [])
        assert (tokens.shape, status) == ((0, 1), [])

    def test_rows_are_padded_on_the_right_to_the_longest(self, encoder: TextEncoder):
        tokens, _ = encode(encoder, [b"good", b"a splendid film", b""])
        lengths = np.count_nonzero(tokens, axis=1)
        assert lengths[2] == 0 < lengths[0] < lengths[1] == tokens.shape[1]
        assert np.array_equal(tokens != PAD, np.arange(tokens.shape[1]) < lengths[:, None])

    def test_the_cut_lies_exactly_behind_max_length(self, vocabulary: bytes):
        text = "The splendid film of number 3 is dull."
        ids = pieces(vocabulary).encode(text)
        for length in (1, len(ids) - 1, len(ids), len(ids) + 1):
            tokens, _ = encode(TextEncoder(vocabulary, length), [text])
            assert tokens[0].tolist() == ids[:length]

    def test_no_character_behind_the_window_is_read(self, encoder: TextEncoder):
        window = 32 * encoder.max_length
        inside = "\u00a0" * (window - 4) + "good"
        behind = "\u00a0" * window + "good"
        tokens, status = encode(encoder, [inside + "film", "good", behind])
        assert status == ["", "", EMPTY]
        assert tokens[0].tolist() == tokens[1].tolist()

    def test_a_huge_row_is_no_longer_than_max_length(self, encoder: TextEncoder):
        tokens, status = encode(encoder, [HUGE, b"x" * 100_000])
        assert tokens.shape == (2, encoder.max_length)
        assert status == ["", ""]


class TestNeighbours:
    """Who shares the batch changes nothing but the padding."""

    def test_a_row_is_read_alone_as_among_strangers(self, encoder: TextEncoder):
        rows = [*encoder.probe_rows()["text"], b"a good film"]
        together, status = encode(encoder, rows)
        for row, text in enumerate(rows):
            alone, alone_status = encode(encoder, [text])
            steps = alone.shape[1]
            assert together[row, :steps].tolist() == alone[0].tolist()
            assert not together[row, steps:].any()
            assert status[row] == alone_status[0]

    def test_probe_rows_cover_good_empty_invalid_and_huge(self, encoder: TextEncoder):
        rows = encoder.probe_rows()
        encoder.inputs.check(rows)
        assert {*encode(encoder, rows["text"])[1]} == {"", EMPTY, INVALID}
        assert max(map(len, rows["text"])) >= 100_000

    def test_the_graph_gives_what_eager_execution_gives(self, encoder: TextEncoder):
        graph = tf.function(encoder.__call__, input_signature=[encoder.inputs.tensor_specs()])
        rows = encoder.probe_rows()
        eager, traced = encoder(rows), graph(rows)
        assert eager.keys() == traced.keys() == {"tokens", "status"}
        assert traced["tokens"].dtype == tf.int32
        for name, value in eager.items():
            np.testing.assert_array_equal(value, traced[name])

    def test_setting_a_random_seed_disturbs_nothing(self, encoder: TextEncoder):
        graph = tf.function(encoder.__call__, input_signature=[encoder.inputs.tensor_specs()])
        rows = encoder.probe_rows()
        before = graph(rows)["tokens"].numpy()
        tf.random.set_seed(1)
        for function in (encoder, graph):
            np.testing.assert_array_equal(function(rows)["tokens"], before)

    @given(texts=some.lists(some.binary(max_size=60) | some.text().map(str.encode)))
    def test_no_bytes_raise_and_each_row_has_tokens_or_a_status(
        self, encoder: TextEncoder, texts: list[bytes]
    ):
        tokens, status = encode(encoder, texts)
        assert len(tokens) == len(status) == len(texts)
        assert 1 <= tokens.shape[1] <= encoder.max_length
        for row, text, reason in zip(tokens, texts, status, strict=True):
            assert row.any() == (reason == "")
            assert _is_utf8(text) == (reason != INVALID)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class TestVocabulary:
    """What is learned, and from what."""

    def test_it_is_the_same_every_time(self, corpus: tuple[str, ...], vocabulary: bytes):
        assert learn_vocabulary(iter(corpus), 400) == vocabulary

    def test_it_holds_nothing_that_was_not_given(self, corpus: tuple[str, ...]):
        for part in (corpus, corpus[:40]):
            given = "▁".join(["", *part]).lower().replace(" ", "▁")
            learned = _learned(learn_vocabulary(part, 400))
            assert learned
            assert all(piece in given for piece in learned)

    def test_it_has_at_most_the_asked_size(self, corpus: tuple[str, ...]):
        for size in (300, 320, 400):
            assert 256 < pieces(learn_vocabulary(corpus, size)).vocab_size() <= size

    def test_padding_is_0_and_every_id_is_below_the_size(self, encoder: TextEncoder):
        tokens, _ = encode(encoder, encoder.probe_rows()["text"])
        assert tokens.min() == PAD
        assert tokens.max() < encoder.vocabulary_size

    def test_case_is_folded_or_kept_as_asked(self, corpus: tuple[str, ...]):
        for lower_case in (True, False):
            encoder = TextEncoder(learn_vocabulary(corpus, 400, lower_case), 20)
            upper, lower = encode(encoder, ["THE FILM", "the film"])[0]
            assert np.array_equal(upper, lower) == lower_case

    def test_compatible_characters_are_one(self, encoder: TextEncoder):
        tokens, _ = encode(encoder, ["ﬁlm", "ｆｉｌｍ", "film"])
        assert tokens[0].tolist() == tokens[1].tolist() == tokens[2].tolist()

    def test_a_size_below_300_is_refused(self, corpus: tuple[str, ...]):
        with pytest.raises(ConfigError, match="vocabulary size must be at least 300, not 299"):
            learn_vocabulary(corpus, 299)

    @pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]], ids=["none", "empty", "blank"])
    def test_texts_without_a_character_are_refused(self, texts: list[str]):
        with pytest.raises(DataError, match="the texts hold too few characters"):
            learn_vocabulary(texts, 300)


def _learned(vocabulary: bytes) -> list[str]:
    """Return the subwords that stem from the texts."""
    model = pieces(vocabulary)
    return [
        model.id_to_piece(index)
        for index in range(model.vocab_size())
        if not (model.is_byte(index) or model.is_control(index) or model.is_unknown(index))
    ]


class TestRebuilding:
    """The encoder that is written down and the one that is read back."""

    def test_a_saved_encoder_reads_as_before(self, encoder: TextEncoder, tmp_path: Path):
        encoder.save_assets(tmp_path)
        config: dict[str, Any] = encoder.get_config()
        rebuilt = TextEncoder.load(config, tmp_path)
        rows = encoder.probe_rows()["text"]
        assert config == {"max_length": 12}
        assert rebuilt.vocabulary_size == encoder.vocabulary_size
        np.testing.assert_array_equal(encode(rebuilt, rows)[0], encode(encoder, rows)[0])

    def test_the_vocabulary_is_written_for_people_too(self, encoder: TextEncoder, tmp_path: Path):
        encoder.save_assets(tmp_path)
        lines = (tmp_path / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
        assert len(lines) == encoder.vocabulary_size
        assert lines[:2] == ["<pad>", "<unk>"]

    def test_a_length_below_1_is_refused(self, vocabulary: bytes):
        with pytest.raises(ConfigError, match="max_length must be at least 1, not 0"):
            TextEncoder(vocabulary, 0)
