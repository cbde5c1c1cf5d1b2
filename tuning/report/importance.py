"""Which parameters the score depends on: how well it is predicted without knowing each.

Random forests (Breiman 2001, "Random Forests", Machine Learning 45) learn the rank of a trial's
score from its parameters: of ranks, since one diverged trial would be most of the variance of the
scores themselves. They are tested on trials that they have not seen, in two rounds of five folds.
There a parameter's value is swapped for those that other trials have, and its importance is half
of what the squared error grows by, since a swap counts both the value that was lost and the one
that was got (Fisher, Rudin and Dominici 2019, "All Models are Wrong, but Many are Useful",
JMLR 20). Categories are one-hot; that a trial does not have a parameter is a value of its own.

What this cannot do: it tells what goes together with the score in the ranges that were searched,
not what causes it. Few trials make it noisy, as the spread shows, and where the forests predict
unseen trials no better than the mean does, no values are given at all. Parameters that vary
together, such as a conditional one and its condition, share what they explain. Failed and refused
trials have no score and are left out, so what makes trials fail does not show. Trials of different
numbers of epochs are compared as they are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.report.records import parameter_names
from tuning.report.scale import is_number
from tuning.trials import Search

FEWEST = 4
"""Completed trials below which nothing is computed."""

_FOLDS, _ROUNDS = 5, 2
_TREES = 40
_SWAPS = 16
"""Other trials whose value a parameter is given, for each held-out trial."""

_ABSENT = "(absent)"


@dataclass(frozen=True)
class Importance:
    """What each parameter adds to the prediction of the order of the trials.

    Attributes:
        values: By parameter, the largest first: the share of the variance that goes with it, alone
            or together with others, so that the sum may exceed 1. Near 0 or below: none that
            could be told from noise.
        spread: One standard deviation of each over the forests.
        explained: Share of the variance that the forests predict of trials they have not seen.
        trials: Completed trials that it was computed from.
        constant: Parameters that had one value in all of them, of which nothing can be said.
        missing: Why there are no values; '' if there are.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    explained: float = 0.0
    trials: int = 0
    constant: Sequence[str] = ()
    missing: str = ""


def parameter_importance(search: Search) -> Importance:
    """Return the importance of every parameter that varies, or why there is none."""
    trials = search.completed
    columns = {
        name: [trial.parameters.get(name, _ABSENT) for trial in trials]
        for name in parameter_names(search)
    }
    constant = [name for name, column in columns.items() if len(set(column)) < 2]
    varying = {name: column for name, column in columns.items() if name not in constant}
    none = functools.partial(Importance, trials=len(trials), constant=constant)
    if len(trials) < FEWEST:
        missing = f"not enough trials: {len(trials)} completed, at least {FEWEST} are needed"
        return none(missing=missing)
    if len({trial.score for trial in trials}) < 2:
        return none(missing="all completed trials have the same score")
    if not varying:
        return none(missing="no parameter varied over the completed trials")
    scores = np.array([trial.score for trial in trials], dtype=np.float64)
    growth, explained = _measure(scores, varying)
    if explained <= 0:
        missing = (
            f"the parameters of {len(trials)} trials predict the score of further ones no better "
            "than the mean does: more trials are needed"
        )
        return none(explained=explained, missing=missing)
    order = sorted(varying, key=lambda name: -growth[name].mean())
    return Importance(
        {name: float(growth[name].mean()) for name in order},
        {name: float(growth[name].std()) for name in order},
        explained,
        len(trials),
        constant,
    )


def _measure(
    scores: NDArray[np.float64], columns: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Return the growth of the error by parameter, one value per forest, and what is explained.

    Args:
        scores: `float64[trials]`.
        columns: Each parameter's values, one per trial.
    """
    from scipy.stats import rankdata
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import RepeatedKFold

    ranks = rankdata(scores)
    ranks = (ranks - ranks.mean()) / ranks.std()
    blocks = {name: encoded(column) for name, column in columns.items()}
    features = np.hstack(list(blocks.values()))
    folds = RepeatedKFold(n_splits=min(_FOLDS, len(ranks)), n_repeats=_ROUNDS, random_state=0)
    random = np.random.default_rng(0)
    growth: dict[str, list[float]] = {name: [] for name in columns}
    errors: list[float] = []
    for learned, held in folds.split(features):
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0)
        forest.fit(features[learned], ranks[learned])
        given = random.integers(len(ranks), size=(_SWAPS, len(held)))
        # One call for all variants, since each costs as much as a thousand rows.
        variants = [features[held], *_swapped(features, blocks, held, given)]
        squares = (forest.predict(np.vstack(variants)).reshape(-1, len(held)) - ranks[held]) ** 2
        errors += list(squares[0])
        swapped = squares[1:].reshape(len(columns), -1).mean(axis=1)
        for name, error in zip(columns, swapped, strict=True):
            growth[name].append(float(error - squares[0].mean()) / 2)
    return {name: np.array(each) for name, each in growth.items()}, 1 - float(np.mean(errors))


def _swapped(
    features: NDArray[np.float64],
    blocks: Mapping[str, NDArray[np.float64]],
    held: NDArray[np.int64],
    given: NDArray[np.int64],
) -> list[NDArray[np.float64]]:
    """Return copies of the held-out rows, parameter by parameter with values of other trials."""
    copies, start = [], 0
    for block in blocks.values():
        place = slice(start, start + block.shape[1])
        start = place.stop
        for rows in given:
            copy = features[held]
            copy[:, place] = features[rows, place]
            copies.append(copy)
    return copies


def encoded(column: Sequence[Any]) -> NDArray[np.float64]:
    """Return one parameter as numbers for a forest, `float64[trials, columns]`.

    Numbers stay as they are, for a tree's splits are the same on any scale, with -1 beside them
    where the parameter is absent; everything else becomes one column per value.
    """
    present = [value for value in column if value is not _ABSENT]
    if all(is_number(value) for value in present):
        numbers = [[math.nan if value is _ABSENT else float(value)] for value in column]
        return np.array(numbers, dtype=np.float64)
    names = list(dict.fromkeys(map(str, column)))
    return np.array([[str(value) == name for name in names] for value in column], np.float64)
