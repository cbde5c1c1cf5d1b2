"""Text to subword ids, inside the graph.

The vocabulary is a SentencePiece unigram model (Kudo 2018, arXiv:1804.10959; Kudo and
Richardson 2018, arXiv:1808.06226). Normalisation (NFKC, optionally with case folding),
segmentation and the byte fallback for unseen characters are part of that one model, so
the served graph splits text exactly as training did.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text

from zoo.errors import ConfigError, DataError
from zoo.ports import Endpoint, Port, Ports

PAD, UNKNOWN = 0, 1

EMPTY = "text is empty"
INVALID = "text is not valid UTF-8"

# No subword is longer than 16 characters; twice that leaves room for white space.
_CHARACTERS_PER_TOKEN = 32
# 256 bytes of the fallback, padding, unknown, and some letters.
_SMALLEST_VOCABULARY = 300


def learn_vocabulary(texts: Iterable[str], size: int, lower_case: bool = True) -> bytes:
    """Learn a subword vocabulary.

    Args:
        texts: The texts of the training part, and of no other.
        size: Number of subwords at most, at least 300; fewer come back for little text.
        lower_case: Fold case, so that "Good" and "good" are one subword.

    Returns:
        A serialised SentencePiece model, for `TextEncoder`.

    Raises:
        ConfigError: `size` is too small.
        DataError: The texts hold no character to learn from.
    """
    if size < _SMALLEST_VOCABULARY:
        raise ConfigError(f"vocabulary size must be at least {_SMALLEST_VOCABULARY}, not {size}")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            model_type="unigram",
            normalization_rule_name="nmt_nfkc_cf" if lower_case else "nmt_nfkc",
            byte_fallback=True,
            character_coverage=0.9995,
            max_sentence_length=1 << 20,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=-1,
            eos_id=-1,
            # The result depends on the number of threads: fix it.
            num_threads=2,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError("the texts hold too few characters for a vocabulary") from error
    return model.getvalue()


class TextEncoder(tf.Module):
    """Raw strings to padded subword ids; never raises for the content of a row.

    Takes `text: string[batch]`. Gives `tokens: int32[batch, time]`, right-padded with 0,
    time at least 1, and `status: string[batch]`, '' for a good row. A row that is empty
    or not UTF-8 is all padding.

    The cut for long rows: the first `max_length` subwords of the first
    `32 * max_length` characters.

    Args:
        vocabulary: What `learn_vocabulary` returned.
        max_length: Most subwords per row.
    """

    inputs = Ports(text=Port((), "string", "UTF-8 text of any length"))

    def __init__(self, vocabulary: bytes, max_length: int) -> None:
        super().__init__()
        if max_length < 1:
            raise ConfigError(f"max_length must be at least 1, not {max_length}")
        self.vocabulary = vocabulary
        self.max_length = max_length
        pieces = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
        self.vocabulary_size = pieces.vocab_size()

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        text = tf.convert_to_tensor(raw["text"])
        clean = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        valid = tf.equal(clean, text)
        head = tf.strings.substr(
            tf.where(valid, clean, ""), 0, _CHARACTERS_PER_TOKEN * self.max_length, unit="UTF8_CHAR"
        )
        # Made in the graph that uses it: setting a random seed frees one that stands outside.
        tokenizer = tf_text.SentencepieceTokenizer(self.vocabulary, out_type=tf.int32)
        pieces = tokenizer.tokenize(head)[:, : self.max_length]
        time = tf.maximum(pieces.bounding_shape(axis=1, out_type=tf.int32), 1)
        tokens = pieces.to_tensor(PAD, shape=[None, None])
        tokens = tf.pad(tokens, [[0, 0], [0, time - tf.shape(tokens)[1]]], constant_values=PAD)
        status = tf.where(pieces.row_lengths() > 0, "", EMPTY)
        return {"tokens": tokens, "status": tf.where(valid, status, INVALID)}

    def entrances(self, model: Any, finish: Any) -> dict[str, Endpoint]:
        """Return what else is served: nothing."""
        return {}

    def probe_rows(self) -> dict[str, np.ndarray]:
        """Return rows at the edges of what may be sent: `text: object[rows]` of bytes."""
        rows = [
            b"",
            b" \t\r\n",
            b"\xff\xfe not UTF-8",
            b"cut in the middle of a character: \xe2\x82",
            b"a NUL \x00 inside",
            "emoji \N{GRINNING FACE} and \N{RAINBOW}".encode(),
            "\u05e9\u05dc\u05d5\u05dd, right to left".encode(),
            b"long " * 20_000,
            b"x" * 100_000,
        ]
        return {"text": np.array(rows, dtype=object)}

    def get_config(self) -> dict[str, Any]:
        """Return the JSON part of what rebuilds this encoder."""
        return {"max_length": self.max_length}

    def save_assets(self, folder: Path) -> None:
        """Write the vocabulary into `folder`, once for programs and once for people."""
        (folder / "vocabulary.model").write_bytes(self.vocabulary)
        pieces = sentencepiece.SentencePieceProcessor(model_proto=self.vocabulary)
        lines = (pieces.id_to_piece(index) for index in range(pieces.vocab_size()))
        (folder / "vocabulary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> TextEncoder:
        """Rebuild from `get_config` and the folder that `save_assets` wrote."""
        return cls((folder / "vocabulary.model").read_bytes(), **config)
