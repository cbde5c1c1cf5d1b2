"""The page of a search: what it found, how to train it again, and every trial."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.report.page import Card, Page, Picture, Score, Section, Table, named
from tuning.confirmation import START, Confirmation, read_confirmation, spelled
from tuning.report import figures
from tuning.report.importance import Importance, parameter_importance
from tuning.report.parallel import parallel_coordinates
from tuning.report.records import (
    base_trial,
    configuration,
    objective,
    parameter_names,
    pareto,
    to_json,
    write,
)
from tuning.report.scale import is_number, text
from tuning.report.tensorboard import to_tensorboard
from tuning.trials import COMPLETED, FAILED, REFUSED, RUNNING, Search

_CONFIRMED = "On the test part"
_MOST_AXES = 14
_WIDE_RATIO = 100
"""From this ratio of the largest to the smallest on, numbers do not share their decimals."""


def write_report(search: Search, folder: Path) -> list[Path]:
    """Write the page, every picture as PNG, and the trials for TensorBoard; return what there is.

    Everything is drawn before anything is written, and files are replaced as a whole.

    Args:
        search: The search as it stands; it may be running.
        folder: Of the search; gets `index.html`, `*.png` and `tensorboard/`.

    Raises:
        DataError: The folder cannot be written to.
    """
    contents = search_page(search, folder).files()
    for name, content in contents.items():
        write(folder / name, content)
    return [*(folder / name for name in contents), to_tensorboard(search, folder)]


def search_page(search: Search, folder: Path) -> Page:
    """Return the page of a search.

    Args:
        search: The search as it stands.
        folder: Named in the commands; its `environment.json`, if there is one, is shown.
    """
    found = parameter_importance(search)
    return Page(
        f"{search.recipe.capitalize()}: search over hyperparameters",
        summary_line(search),
        f"Search {folder.resolve().name}",
        _card(search),
        _facts(search),
        _tables(search),
        _pictures(search, found) if search.best else [],
        _sections(search, folder, found),
    )


def summary_line(search: Search) -> str:
    """Return in two sentences what was tried and what came of it."""
    counts = Counter(trial.status for trial in search.trials)
    parts = [f"{counts[each]} {each}" for each in (COMPLETED, FAILED, REFUSED, RUNNING)]
    parts = [part for part in parts if not part.startswith("0 ")]
    tried = f"{len(search.trials)} trial{'s' if len(search.trials) != 1 else ''}"
    tried += f" of the recipe {search.recipe} by {search.algorithm} search, seed {search.seed}"
    tried += f": {', '.join(parts)}." if parts else "."
    if search.best is None:
        return f"{tried} No trial has completed yet, so there is no best one."
    score = text(search.best.score or 0.0, 4)
    best = f"The best {objective(search)} is {score}, by trial {search.best.id}"
    return f"{tried} {best}; {_base_words(search)}."


def _base_words(search: Search) -> str:
    base = base_trial(search)
    if base is None:
        return "the base configuration was not tried"
    if base not in search.completed:
        return f"the base configuration ({base.id}) is {base.status}"
    if base == search.best:
        return "that is the base configuration"
    return f"the base configuration ({base.id}) reached {text(base.score or 0.0, 4)}"


def _card(search: Search) -> Card | None:
    best, base = search.best, base_trial(search)
    if best is None:
        return None
    score = best.score or 0.0
    others = {}
    verdict = "The base configuration has no score that the best could be compared with."
    if base and base in search.completed:
        others["base configuration"] = [Score(f"trial {base.id}", base.score or 0.0)]
        gain = text(abs(score - (base.score or 0.0)))
        verdict = f"The best trial beats the base configuration by {gain}."
        if best.score == base.score:
            verdict = "No trial beats the base configuration."
    if len(search.completed) > 2:
        median = statistics.median(trial.score or 0.0 for trial in search.completed)
        others["completed trials"] = [Score("median", median)]
    return Card(
        objective(search),
        ("best", Score(f"trial {best.id}", score)),
        others,
        verdict,
        loses=base is not None and best.score == base.score,
        larger_is_better=not search.objective.lower_is_better,
        percent=False,
        rows="trial",
    )


def _facts(search: Search) -> dict[str, object]:
    record = to_json(search)
    return {
        "trials per hour": record["trials_per_hour"],
        "seconds per trial beyond its training": record["overhead_seconds_per_trial"],
        "seconds in which trials were running": round(search.seconds),
        **({"weights of the best": search.best.size} if search.best else {}),
    }


def _tables(search: Search) -> list[Table]:
    if search.best is None:
        return []
    best = configuration(search, search.best)
    changed = [
        (name, _spelled(search.base.get(name)), _spelled(value))
        for name, value in best.items()
        if search.base.get(name) != value
    ]
    tables = [Table("What the best trial changes", ("field", "base", "best"), changed)]
    if front := pareto(search):
        rows = [(trial.id, trial.score, trial.latency_ms, trial.size) for trial in front]
        columns = ("trial", objective(search), "milliseconds", "weights")
        tables.append(Table("Quality against latency: not beaten in both", columns, rows))
    return tables


def _spelled(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_spelled, value))
    if is_number(value):
        return text(float(value), 6)  # type: ignore[arg-type]
    return "none" if value is None else str(value)


def _pictures(search: Search, found: Importance) -> list[Picture]:
    return [
        *_parallel(search, found),
        *_importance(found),
        Picture(
            "best_over_time",
            "Every trial when it ended, and the best score until then. Time in which no trial was "
            "running is left out.",
            "Scores of the trials over time, with the best so far",
            figures.best_over_time(search),
        ),
        Picture(
            "trial_curves",
            "The objective after each epoch. A score is the best value of its curve.",
            "Line chart of the objective over the epochs, a line per trial",
            figures.learning_curves(search),
        ),
        *_prices(search),
    ]


def _parallel(search: Search, found: Importance) -> list[Picture]:
    names = [name for name in parameter_names(search) if name not in found.constant]
    if len(search.completed) < 2 or not names:
        return []
    caption = (
        "A line per trial, from its parameters to its score; dark ones are good. Where lines of "
        "one colour come together on an axis, the parameter matters."
    )
    if len(names) > _MOST_AXES:
        important = [*found.values, *names]
        chosen = set(list(dict.fromkeys(important))[:_MOST_AXES])
        names = [name for name in names if name in chosen]
        caption += f" The {_MOST_AXES} {'most important' if found.values else 'first'} are shown."
    if found.constant:
        caption += f" The same in all completed trials: {', '.join(found.constant)}."
    alt = "Parallel coordinates of the parameters and the score of every trial"
    return [Picture("parallel", caption, alt, parallel_coordinates(search, names))]


def _importance(found: Importance) -> list[Picture]:
    if not found.values:
        return []
    caption = (
        f"How much of the order of {found.trials} trials goes with each parameter. Forests that "
        f"learned it from some trials explain {found.explained:.0%} of the others. What goes with "
        "the score need not cause it, and a bar whose spread reaches 0 may be chance."
    )
    alt = "Bar chart of parameter importance"
    return [Picture("importance", caption, alt, figures.importance_bars(found))]


def _prices(search: Search) -> list[Picture]:
    """Return what quality costs in size and, where it was measured, in latency."""
    pictures = []
    if any(trial.size is not None for trial in search.completed):
        chart = figures.against_size(search)
        alt = "Scatter chart of score and number of weights"
        pictures.append(Picture("size", "What a larger model brings.", alt, chart))
    if pareto(search):
        caption = (
            "Along the blue line a quicker model costs quality. Latency is that of the exported "
            "model on the machine that ran the search."
        )
        chart = figures.against_latency(search)
        alt = "Scatter chart of score and latency with the Pareto front"
        pictures.append(Picture("latency", caption, alt, chart))
    return pictures


def _sections(search: Search, folder: Path, found: Importance) -> list[Section]:
    sections = []
    if confirmed := read_confirmation(folder):
        sections.append(_confirmed(confirmed))
    if search.best:
        place = shlex.quote(str(folder))
        sections.append(
            Section(
                "Train the best again",
                "The best of many scores on the validation part flatters itself: let several seeds "
                "choose among the best few, and compare the test scores.",
                f"python -m tuning confirm {place} --seeds 0 1 2\n"
                f"python -m tuning best {place} > best.json\n"
                f"python -m recipes {search.recipe} train --config best.json "
                f"--run-dir runs/{search.recipe}-best",
            )
        )
    if search.best and found.missing:
        words = found.missing[:1].upper() + found.missing[1:]
        sections.append(Section("Parameter importance", f"{words}."))
    sections.append(Section("All trials", table=_trial_table(search)))
    if (table := _failure_table(search)).rows:
        sections.append(Section(table.title, table=table))
    sections.append(Section("Base configuration", facts=search.base, names_are_code=True))
    environment = folder / "environment.json"
    if environment.is_file():
        facts = json.loads(environment.read_text(encoding="utf-8"))
        sections.append(Section("Environment", facts=named(facts)))
    return sections


def _confirmed(found: Confirmation) -> Section:
    """Return what several seeds say, on the validation part and on the test part."""
    tests = {START: found.start, found.chosen: found.best}
    rows = [
        (_called(name), spelled(scores), spelled(tests[name]) if name in tests else "")
        for name, scores in found.validated.items()
    ]
    rows += [(name, "", f"{score:.4f}") for name, score in found.baselines.items()]
    seeds = ", ".join(map(str, found.seeds))
    said = f"Trained anew with the seeds {seeds}; the mean of the validation scores decides. "
    if found.chosen == START:
        said += "No trial validates better than the base."
    else:
        verdict = "better" if found.gain > 0 else "no better"
        said += (
            f"On the test part trial {found.chosen} is {verdict} than the base by "
            f"{abs(found.gain):.4f}."
        )
    columns = ("configuration", "validation", f"test {found.metric}")
    return Section(_CONFIRMED, said, table=Table(_CONFIRMED, columns, rows))


def _called(name: str) -> str:
    return "base" if name == START else f"trial {name}"


def _trial_table(search: Search) -> Table:
    """Return all trials, the best first and those without a score last."""
    scored = search.completed
    ids = {trial.id for trial in scored}
    trials = [*scored, *(trial for trial in search.trials if trial.id not in ids)]
    columns: dict[str, Sequence[Any]] = {
        "trial": [trial.id for trial in trials],
        "status": [trial.status for trial in trials],
        objective(search): [trial.score if trial.id in ids else None for trial in trials],
        "epochs": [len(trial.curve) for trial in trials],
        "seconds": [trial.seconds for trial in trials],
        "weights": [trial.size for trial in trials],
        "ms": [trial.latency_ms for trial in trials],
    }
    if not any(columns["ms"]):
        del columns["ms"]
    for name in parameter_names(search):
        # A parameter may be called like one of the trial's own columns.
        heading = name if name not in columns else f"parameter {name}"
        columns[heading] = _aligned([trial.parameters.get(name) for trial in trials])
    return Table("All trials", list(columns), list(zip(*columns.values(), strict=True)))


def _aligned(values: Sequence[Any]) -> Sequence[Any]:
    """Return a column whose numbers can share their decimals, or else texts."""
    numbers = [abs(value) for value in values if is_number(value) and value]
    if not numbers or max(numbers) / min(numbers) < _WIDE_RATIO:
        return values
    return [text(value) if is_number(value) else value for value in values]


def _failure_table(search: Search) -> Table:
    rows = [
        (trial.id, trial.status, trial.worker or None, trial.seconds, trial.reason or None)
        for trial in search.trials
        if trial.status in (FAILED, REFUSED)
    ]
    columns = ("trial", "status", "worker", "seconds", "reason")
    return Table("Failed and refused trials", columns, rows)
