"""Characters per step to a sentence with its words' times, inside the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import tensorflow as tf

from zoo.decoding.constraint import Constraint
from zoo.decoding.ctc import Hypotheses, greedy, prefix_beam_search
from zoo.decoding.lexicon import SEPARATOR, Lexicon, check_alphabet
from zoo.decoding.ngram import NGram
from zoo.errors import ConfigError, UnknownNameError
from zoo.ports import Port, Ports

SEARCHES = ("greedy", "beam", "lexicon")
_WORDS, _MODEL = "lexicon.txt", "ngram.arpa"


class Transcriber(tf.Module):
    """Logits to text; the `finish` of a speech pipeline.

    Takes `logits: float32[batch, steps, classes]`, whose class 0 is the blank of CTC and whose
    steps of padding say it with certainty, and `status: string[batch]`. Gives:

        text         the best sentence
        confidence   its share of the probability of the sentences that are listed; of
                     "greedy" the probability of the best path
        nbest        JSON, best first: [{"text", "score", "words": [{"word", "start", "end",
                     "confidence"}]}]; score is a natural logarithm; start and end are the
                     seconds at which the first and the last character of a word are emitted,
                     and confidence is the mean probability of its characters at these steps
        status       as it came

    A row whose status is not '' has no text, the confidence 0 and the list "[]".

    Args:
        alphabet: The character of class k is `alphabet[k - 1]`; of a list, the word.
        search: "greedy": the best path; "beam": the most probable characters; "lexicon": the
            most probable sentence of known words.
        beam: Hypotheses that a search keeps.
        nbest: Sentences at most in the list.
        step_seconds: Seconds from step to step.
        lm_weight, word_bonus: See `prefix_beam_search`; of "lexicon" alone.
        words: The known words, for "lexicon".
        model: Their n-gram model.

    Raises:
        ConfigError: The alphabet is empty or repeats a character, or words and model are
            missing, or given to another search; or a list is to be searched for spelled words.
        UnknownNameError: There is no such search.
    """

    def __init__(
        self,
        alphabet: str | Sequence[str],
        search: str = "greedy",
        beam: int = 32,
        nbest: int = 5,
        step_seconds: float = 0.03,
        lm_weight: float = 1.0,
        word_bonus: float = 0.0,
        words: Sequence[str] = (),
        model: NGram | None = None,
    ) -> None:
        super().__init__()
        check_alphabet(alphabet)
        if search not in SEARCHES:
            raise UnknownNameError("search", search, SEARCHES)
        if (search == "lexicon") != bool(words) or (search == "lexicon") != (model is not None):
            raise ConfigError(
                "words and an n-gram model belong to search='lexicon' and to no other; received "
                f"{len(words)} words, {'a' if model else 'no'} model and search='{search}'"
            )
        spelled = isinstance(alphabet, str)
        if search == "lexicon" and not spelled:
            raise ConfigError("search='lexicon' takes characters that spell words, not words")
        # A tuple, since tf.Module wraps lists for tracking.
        self.alphabet, self.search = alphabet if isinstance(alphabet, str) else (*alphabet,), search
        self.beam, self.nbest = beam, 1 if search == "greedy" else nbest
        self.step_seconds = step_seconds
        self.lm_weight, self.word_bonus = float(lm_weight), float(word_bonus)
        self.words, self.model = tuple(words), model
        self._constraint = Constraint(Lexicon(words, "".join(alphabet)), model) if model else None
        # A class that is a word is a word's first and last character, and parts itself from others.
        self._separator = alphabet.index(SEPARATOR) + 1 if SEPARATOR in alphabet else 0
        behind = "" if spelled else SEPARATOR
        self._parts = ("", *(json.dumps(each, ensure_ascii=False)[1:-1] for each in alphabet))
        self._characters = ("", *(each + behind for each in alphabet))
        self._escaped = ("", *(each + behind for each in self._parts[1:]))

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        return Ports(
            text=Port((), "string", "the most probable sentence"),
            confidence=Port((), "float32", "its share among the sentences found, 0 to 1"),
            nbest=Port((), "string", "the best sentences with scores and word times, as JSON"),
            status=Port((), "string", "'' if the row was understood, else the reason"),
        )

    def __call__(self, logits: Any, status: Any) -> dict[str, Any]:
        good = tf.equal(status, "")
        found = self.find(logits, self.lm_weight, self.word_bonus)
        share = tf.exp(found.scores) if self.search == "greedy" else tf.nn.softmax(found.scores)
        return {
            "text": tf.where(good, self.texts(found)[:, 0], ""),
            "confidence": tf.where(good, share[:, 0], 0.0),
            "nbest": tf.where(good, self._json(logits, found), "[]"),
            "status": status,
        }

    def find(self, logits: Any, lm_weight: Any, word_bonus: Any) -> Hypotheses:
        """Return what the search finds with other weights, numbers or scalar tensors."""
        log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        lengths = tf.repeat(tf.shape(logits)[1], tf.shape(logits)[0])
        if self.search == "greedy":
            return greedy(log_probs, lengths)
        return prefix_beam_search(
            log_probs, lengths, self.beam, self.nbest, self._constraint, lm_weight, word_bonus
        )

    def texts(self, found: Hypotheses) -> Any:
        """Return the sentences, `string[batch, n]`, with single spaces between words."""
        return _tidy(tf.strings.reduce_join(tf.gather(self._characters, found.labels), axis=-1))

    def initial_state(self, batch: Any) -> dict[str, Any]:
        """Return the state before the first step of `batch` streams.

        Raises:
            ConfigError: The search is not "greedy", which alone never takes a word back.
        """
        if self.search != "greedy":
            raise ConfigError(f"streams need search='greedy', not '{self.search}'")
        return {"last": tf.zeros([batch], tf.int32), "apart": tf.zeros([batch], tf.int32)}

    def step(
        self, logits: Any, steps: Any, text: Any, state: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Read the next steps of streams.

        Args:
            logits: `float32[batch, steps, classes]`.
            steps: `int32[batch]`, how many of them are real.
            text: `string[batch]`, what was read so far.
            state: From `initial_state` or the last `step`.

        Returns:
            What is read now, and the state.
        """
        path = tf.argmax(logits, axis=-1, output_type=tf.int32)
        line = tf.concat([state["last"][:, None], path], axis=1)
        real = tf.sequence_mask(steps, tf.shape(path)[1])
        said = tf.where(real & (path != line[:, :-1]), path, 0)
        said = tf.strings.reduce_join(tf.gather(self._characters, said), axis=-1)
        # A separator shows only once a character follows it.
        said = tf.strings.join([text, tf.where(state["apart"] > 0, SEPARATOR, ""), said])
        apart = tf.strings.regex_full_match(said, f"(?s).*{SEPARATOR}")
        last = tf.gather(line, steps, batch_dims=1)
        return _tidy(said), {"last": last, "apart": tf.cast(apart, tf.int32)}

    def _json(self, logits: Any, found: Hypotheses) -> Any:
        """Return the list of hypotheses, `string[batch]`."""
        text = tf.strings.reduce_join(tf.gather(self._escaped, found.labels), axis=-1)
        score = tf.strings.as_string(found.scores, precision=6)
        words = self._word_list(logits, found)
        entries = tf.strings.join(
            ['{"text": "', _tidy(text), '", "score": ', score, ', "words": [', words, "]}"]
        )
        there = tf.math.is_finite(found.scores)
        comma = tf.where(tf.range(tf.shape(text)[1]) > 0, ", ", "")
        comma = tf.broadcast_to(comma, tf.shape(text))
        entries = tf.where(there, tf.strings.join([comma, entries]), "")
        return tf.strings.join(["[", tf.strings.reduce_join(entries, axis=-1), "]"])

    def _word_list(self, logits: Any, found: Hypotheses) -> Any:
        """Return the words of each hypothesis, `string[batch, n]`, JSON without its brackets."""
        labels, steps = found.labels, tf.cast(found.steps, tf.float32) * self.step_seconds
        inside = (labels != 0) & (labels != self._separator)
        first = last = inside
        if isinstance(self.alphabet, str):
            first = inside & ~tf.pad(inside[..., :-1], [[0, 0], [0, 0], [1, 0]])
            last = inside & ~tf.pad(inside[..., 1:], [[0, 0], [0, 0], [0, 1]])
        number = tf.cumsum(tf.cast(first, tf.int32), axis=-1)

        def at_first(values: Any) -> Any:
            """Spread values that never fall from the first character of a word over it."""
            starts = tf.sort(tf.where(first, values, values.dtype.max), axis=-1)
            return tf.gather(starts, tf.maximum(number - 1, 0), batch_dims=2)

        place = tf.stack([found.steps, labels], axis=-1)
        certain = tf.gather_nd(tf.nn.softmax(tf.cast(logits, tf.float32)), place, batch_dims=1)
        certain = tf.cumsum(tf.where(inside, certain, 0.0), axis=-1)
        before = at_first(tf.pad(certain[..., :-1], [[0, 0], [0, 0], [1, 0]]))
        index = tf.broadcast_to(tf.range(tf.shape(labels)[-1]), tf.shape(labels))
        length = tf.cast(index - at_first(index) + 1, tf.float32)

        opening = tf.where(number > 1, ', {"word": "', '{"word": "')
        closing = tf.strings.join(
            [
                '", "start": ',
                tf.strings.as_string(at_first(steps), precision=2),
                ', "end": ',
                tf.strings.as_string(steps, precision=2),
                ', "confidence": ',
                tf.strings.as_string((certain - before) / length, precision=6),
                "}",
            ]
        )
        parts = [
            tf.where(first, opening, ""),
            tf.where(inside, tf.gather(self._parts, labels), ""),
            tf.where(last, closing, ""),
        ]
        return tf.strings.reduce_join(tf.strings.join(parts), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the JSON part of what rebuilds this transcriber."""
        return {
            "alphabet": self.alphabet,
            "search": self.search,
            "beam": self.beam,
            "nbest": self.nbest,
            "step_seconds": self.step_seconds,
            "lm_weight": self.lm_weight,
            "word_bonus": self.word_bonus,
        }

    def save_assets(self, folder: Path) -> None:
        """Write the words and their model, where the search knows words."""
        if self.model is not None:
            (folder / _WORDS).write_text("\n".join(self.words) + "\n", encoding="utf-8")
            self.model.write_arpa(folder / _MODEL)

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config` and the folder that `save_assets` wrote."""
        if config["search"] != "lexicon":
            return cls(**config)
        words = (folder / _WORDS).read_text(encoding="utf-8").splitlines()
        return cls(**config, words=words, model=NGram.read_arpa(folder / _MODEL))


def _tidy(text: Any) -> Any:
    """Return text without separators at its ends, and with single ones inside."""
    return tf.strings.strip(tf.strings.regex_replace(text, f"{SEPARATOR}+", SEPARATOR))
