"""Trials for TensorBoard's HParams, written by its own message classes without TensorFlow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuning.report.records import MEASURES, curve_points, measures, objective, parameter_names
from tuning.report.scale import is_number
from tuning.trials import COMPLETED, RUNNING, Search, Trial
from zoo.errors import DataError

FOLDER = "tensorboard"

_FEW = 8
"""A number with so many values at most is filtered by value, and else by range."""


def to_tensorboard(search: Search, folder: Path) -> Path:
    """Write `tensorboard/` into the search folder, one run per trial; return that folder.

    Each run holds the trial's parameters, what became of it, its score with further measures, and
    the objective after each epoch. `tensorboard --logdir` shows them under HParams and Scalars.
    What an earlier report wrote is replaced as a whole.

    Raises:
        DataError: The folder cannot be written to.
    """
    target, aside = folder / FOLDER, folder / f".{FOLDER}.{os.getpid()}"
    began = search.trials[0].began if search.trials else 0.0
    try:
        _write_run(aside, [_event(began, _columns(search, began))])
        for trial in search.trials:
            _write_run(aside / trial.id, _events(search, trial))
        if target.exists():
            shutil.rmtree(target)
        aside.replace(target)
    except OSError as error:
        raise DataError(f"'{target}' cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _write_run(folder: Path, events: Sequence[Any]) -> None:
    """Write one event file; its first record says how the others are written."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True)
    began = events[0].wall_time
    with (folder / f"events.out.tfevents.{began:.0f}.seqzoo").open("wb") as file:
        writer = RecordWriter(file)
        for event in [Event(wall_time=began, file_version="brain.Event:2"), *events]:
            writer.write(event.SerializeToString())


def _event(moment: float, summary: Any, step: int = 0) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=moment, step=step, summary=summary)


def _events(search: Search, trial: Trial) -> list[Any]:
    """Return the events of one trial: parameters, curve, measures, end."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    end = trial.span[1]
    values = {_text(name): _value(each) for name, each in trial.parameters.items()}
    # A trial is a group of its own, or equal parameters would be shown as one row.
    events = [_event(trial.began, hparams_pb(values, trial.id, trial.began))]
    for epoch, value, moment in curve_points(trial):
        events.append(_event(moment, scalar_pb(objective(search), value), epoch))
    for name, value in measures(trial).items():
        events.append(_event(end, scalar_pb(name, value)))
    if trial.status != RUNNING:
        events.append(_event(end, _end(end, trial.status == COMPLETED)))
    return events


def _columns(search: Search, began: float) -> Any:
    """Return the message that names all parameters and measures, which are HParams' columns."""
    from tensorboard.plugins.hparams import summary_v2

    known = {name for trial in search.trials for name in measures(trial)}
    titles = dict.fromkeys(MEASURES) | {"score": f"best {objective(search)}"}
    metrics = [
        summary_v2.Metric(name, display_name=titles[name]) for name in MEASURES if name in known
    ]
    parameters = [
        summary_v2.HParam(
            _text(name),
            _domain([_value(t.parameters[name]) for t in search.trials if name in t.parameters]),
        )
        for name in parameter_names(search)
    ]
    return summary_v2.hparams_config_pb(parameters, metrics, began)


def _domain(values: Sequence[Any]) -> Any:
    """Return which values a parameter has, by which HParams lets its rows be filtered."""
    from tensorboard.plugins.hparams.summary_v2 import Discrete, RealInterval

    distinct = list(dict.fromkeys(values))
    if all(is_number(value) for value in distinct):
        numbers = sorted(float(value) for value in distinct)
        return Discrete(numbers) if len(numbers) <= _FEW else RealInterval(numbers[0], numbers[-1])
    if all(isinstance(value, bool) for value in distinct):
        return Discrete(distinct)
    return Discrete(sorted(map(str, distinct)))


def _value(value: Any) -> bool | int | float | str:
    """Return a parameter's value as one of the types that HParams knows."""
    return value if isinstance(value, bool | int | float) else _text(str(value))


def _text(text: str) -> str:
    """Return a text that UTF-8 can express, which lone surrogates are not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _end(moment: float, completed: bool) -> Any:
    """Return the message that says how a trial ended."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if completed else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=moment)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary
