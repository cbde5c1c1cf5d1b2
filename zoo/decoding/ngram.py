"""N-gram language models over words: estimated, read, written, scored.

A model is held in back-off form, as in an ARPA file: for the n-grams g = h w that it lists,
log10 p(w | h), and for the contexts h a back-off weight. For all others

    p(w | h) = backoff(h) p(w | h without its first word)

where the back-off weight of a context that is not listed is 1. A sentence w_1 .. w_m is read
as <s> w_1 .. w_m </s>; words that are in no unigram count as <unk>.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zoo.errors import ConfigError, DataError

START, END, UNKNOWN = "<s>", "</s>", "<unk>"

Words = tuple[str, ...]

# What ARPA files write for log10 of 0.
_IMPOSSIBLE = -99.0
# Discounts of the counts 1, 2 and 3 or more, where they cannot be estimated.
_FIXED_DISCOUNTS = (0.5, 1.0, 1.5)


class NGram:
    """An n-gram model in back-off form.

    Args:
        order: Length of the longest n-grams, at least 1.
        entries: N-gram to (log10 p of its last word, log10 back-off weight as a context).
            Every context of an n-gram must be listed as well. Without a unigram <unk>,
            unknown words are impossible.

    Raises:
        ConfigError: `order` is below 1.
    """

    def __init__(self, order: int, entries: Mapping[Words, tuple[float, float]]) -> None:
        if order < 1:
            raise ConfigError(f"the order of an n-gram model must be at least 1, not {order}")
        self.order = order
        self.entries = {(UNKNOWN,): (_IMPOSSIBLE, 0.0), **entries}

    @property
    def words(self) -> Words:
        """All words, sorted, <s>, </s> and <unk> among them."""
        return tuple(sorted(ngram[0] for ngram in self.entries if len(ngram) == 1))

    @classmethod
    def estimate(
        cls,
        sentences: Iterable[Sequence[str]],
        order: int = 3,
        vocabulary: Iterable[str] | None = None,
    ) -> NGram:
        """Learn a model by interpolated modified Kneser-Ney smoothing.

            p(w | h) = (a(h w) - D(a(h w))) / a(h .) + gamma(h) p(w | h')
            gamma(h) = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / a(h .)

        a is the count for the longest n-grams and those that begin with <s>, else the number
        of different words seen before the n-gram. Nk(h) is how many words follow h with
        a = k, and h' is h without its first word. Below the unigrams stands the uniform
        distribution over the vocabulary, </s> and <unk>.

        Source: Chen and Goodman 1999, An empirical study of smoothing techniques for
        language modeling, section 3. Where too few counts of counts exist for its estimate,
        the discounts are 0.5, 1 and 1.5.

        Args:
            sentences: Each a sequence of words; none may hold white space.
            order: Length of the longest n-grams.
            vocabulary: The words with a probability of their own; all others are counted
                as <unk>. None: the words of the sentences.

        Raises:
            DataError: There is no sentence, or a word cannot be written in an ARPA file.
        """
        texts = [tuple(sentence) for sentence in sentences]
        if not texts:
            raise DataError("an n-gram model needs at least one sentence")
        known = set(vocabulary) if vocabulary is not None else {w for text in texts for w in text}
        _check_words(known.union(*texts))
        marked = [
            (START, *(word if word in known else UNKNOWN for word in text), END) for text in texts
        ]
        counts = _adjusted_counts(marked, order)
        return cls(order, _interpolate(counts, sorted(known | {END, UNKNOWN})))

    @classmethod
    def read_arpa(cls, path: Path) -> NGram:
        r"""Read the text format of ARPA: \data\, \1-grams:, .. \end\.

        Raises:
            DataError: The file breaks the format; names file, line and rule.
        """
        order, entries = _ArpaReader(path).read()
        return cls(order, entries)

    def write_arpa(self, path: Path) -> None:
        """Write the text format of ARPA, which `read_arpa` and other tools read."""
        levels: dict[int, list[Words]] = {n: [] for n in range(1, self.order + 1)}
        for ngram in sorted(self.entries):
            levels[len(ngram)].append(ngram)
        lines = ["\\data\\", *(f"ngram {n}={len(ngrams)}" for n, ngrams in levels.items()), ""]
        for n, ngrams in levels.items():
            lines.append(f"\\{n}-grams:")
            for ngram in ngrams:
                probability, backoff = self.entries[ngram]
                tail = f"\t{backoff:.9g}" if n < self.order else ""
                lines.append(f"{probability:.9g}\t{' '.join(ngram)}{tail}")
            lines.append("")
        path.write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8", newline="\n")

    def log10(self, word: str, history: Sequence[str]) -> float:
        """Return log10 p(word | history); only the last `order` - 1 words count."""
        known = [each if (each,) in self.entries else UNKNOWN for each in (*history, word)]
        context, (target,) = tuple(known[-self.order : -1]), known[-1:]
        total = 0.0
        while (*context, target) not in self.entries:
            total += self.entries.get(context, (0.0, 0.0))[1]
            context = context[1:]
        return total + self.entries[(*context, target)][0]

    def score(self, sentence: Sequence[str]) -> float:
        """Return log10 of the probability of the sentence, its end included."""
        words = (START, *sentence, END)
        return sum(self.log10(words[i], words[:i]) for i in range(1, len(words)))

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Return 10 ** (-score per word), where </s> counts as a word.

        Raises:
            DataError: There is no sentence.
        """
        texts = list(sentences)
        if not texts:
            raise DataError("a perplexity needs at least one sentence")
        score = sum(self.score(text) for text in texts)
        return 10.0 ** (-score / sum(len(text) + 1 for text in texts))


def _check_words(words: Iterable[str]) -> None:
    for word in sorted(words):
        if word in ("", START, END) or word.split() != [word]:
            raise DataError(f"a word must be neither empty, <s> nor </s> nor hold spaces: '{word}'")


def _adjusted_counts(marked: Sequence[Words], order: int) -> list[Counter[Words]]:
    """Return a(g) for the n-grams of each length from 1 to `order`."""
    counts: list[Counter[Words]] = [Counter() for _ in range(order)]
    for words in marked:
        counts[-1].update(words[i : i + order] for i in range(len(words) - order + 1))
        for n in range(1, order):
            if n <= len(words):
                counts[n - 1][words[:n]] += 1
    for n in range(order - 1, 0, -1):
        counts[n - 1].update(ngram[1:] for ngram in counts[n])
    # <s> is never predicted.
    counts[0].pop((START,), None)
    return counts


def _interpolate(
    counts: Sequence[Counter[Words]], vocabulary: Sequence[str]
) -> dict[Words, tuple[float, float]]:
    """Turn a(g) into log10 probabilities and back-off weights, from short to long."""
    counts[0].update({(word,): 0 for word in vocabulary})
    p: dict[Words, float] = {(): 1 / len(vocabulary)}
    gamma: dict[Words, float] = {}
    for n, level in enumerate(counts, 1):
        discounts = _discounts(level)
        totals: defaultdict[Words, int] = defaultdict(int)
        freed: defaultdict[Words, float] = defaultdict(float)
        for ngram, count in level.items():
            totals[ngram[:-1]] += count
            freed[ngram[:-1]] += discounts[min(count, 3)]
        gamma.update({context: freed[context] / totals[context] for context in totals})
        for ngram, count in level.items():
            lower = p[ngram[1:]] if n > 1 else p[()]
            own = (count - discounts[min(count, 3)]) / totals[ngram[:-1]]
            p[ngram] = own + gamma[ngram[:-1]] * lower
    del p[()]
    entries = {g: (math.log10(p[g]), math.log10(gamma.get(g, 1.0))) for g in p}
    entries[(START,)] = (_IMPOSSIBLE, math.log10(gamma.get((START,), 1.0)))
    return entries


def _discounts(level: Counter[Words]) -> tuple[float, float, float, float]:
    """Return D(0) = 0, D1, D2 and D3+ (Chen and Goodman 1999, equation 26)."""
    n = Counter(level.values())
    if not all(n[k] for k in (1, 2, 3, 4)):
        return (0.0, *_FIXED_DISCOUNTS)
    share = n[1] / (n[1] + 2 * n[2])
    d1, d2, d3 = (k - (k + 1) * share * n[k + 1] / n[k] for k in (1, 2, 3))
    if not (0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3):
        return (0.0, *_FIXED_DISCOUNTS)
    return (0.0, d1, d2, d3)


class _ArpaReader:
    """One pass over the lines of a file, remembering where it is."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0

    def read(self) -> tuple[int, dict[Words, tuple[float, float]]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"'{self.path}' cannot be read as an ARPA file: {error}") from error
        lines = self._lines(text)
        while (line := next(lines)) != "\\data\\":
            pass
        announced: list[int] = []
        while (line := next(lines)).startswith("ngram "):
            announced.append(self._announced(line, len(announced) + 1))
        if not announced:
            raise self._wrong("lines 'ngram N=count' must follow \\data\\")
        entries: dict[Words, tuple[float, float]] = {}
        for n, count in enumerate(announced, 1):
            if line != f"\\{n}-grams:":
                raise self._wrong(f"'\\{n}-grams:' must stand here, not '{line}'")
            before = len(entries)
            while not (line := next(lines)).startswith("\\"):
                self._add(line, n, entries)
            if len(entries) - before != count:
                raise self._wrong(f"{count} {n}-grams were announced, not {len(entries) - before}")
        if line != "\\end\\":
            raise self._wrong(f"'\\end\\' must stand here, not '{line}'")
        return len(announced), entries

    def _lines(self, text: str) -> Iterator[str]:
        for self.number, line in enumerate(text.split("\n"), 1):
            if stripped := line.strip(" \t\r"):
                yield stripped
        raise self._wrong("the file must hold \\data\\ and end with '\\end\\'")

    def _announced(self, line: str, n: int) -> int:
        name, _, count = line.removeprefix("ngram ").partition("=")
        if name.strip() != str(n) or not count.strip().isdecimal():
            raise self._wrong(f"'ngram {n}=count' must stand here, not '{line}'")
        return int(count)

    def _add(self, line: str, n: int, entries: dict[Words, tuple[float, float]]) -> None:
        first, *rest = line.replace("\t", " ").split(" ")
        rest = [field for field in rest if field]
        ngram, tail = tuple(rest[:n]), rest[n:]
        if len(ngram) < n or len(tail) > 1:
            raise self._wrong(f"log10 p, {n} words and at most a back-off weight, not '{line}'")
        try:
            probability, backoff = float(first), float(*tail)
        except ValueError:
            raise self._wrong(f"log10 p and back-off weight must be numbers: '{line}'") from None
        if not (math.isfinite(probability) and probability <= 0 and math.isfinite(backoff)):
            raise self._wrong(f"log10 p must be finite and at most 0: '{line}'")
        if ngram in entries:
            raise self._wrong(f"'{' '.join(ngram)}' is listed twice")
        if n > 1 and (ngram[:-1] not in entries or (ngram[-1],) not in entries):
            raise self._wrong(f"'{' '.join(ngram)}': its context and its last word must be listed")
        entries[ngram] = (probability, backoff)

    def _wrong(self, rule: str) -> DataError:
        return DataError(f"'{self.path}', line {self.number}: {rule}")
