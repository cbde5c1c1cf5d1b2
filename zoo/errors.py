"""Every error that SeqZoo raises on purpose.

    SeqZooError                      exit code 1: something failed
    ├── TrainingError                the loss is no longer a number
    ├── ExportError                  the exported model differs from the trained one
    ├── ParityError                  two ways of asking the model give different answers
    └── MisuseError                  exit code 2: the request cannot be met as it stands
        ├── UnknownNameError         a name that is in no table; names the nearest one
        ├── ConfigError              a field's value breaks the field's rule
        ├── PortError                a batch does not fit the declared ports
        └── DataError                a file or table cannot be read as data
            └── DataUnavailableError neither in the cache nor to be downloaded

A message is one line: what is wrong, the rule, what was received, and where there is
one the nearest right name. A command prints that line and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeqZooError(Exception):
    """Something failed that the caller could not have known beforehand."""

    exit_code = 1


class TrainingError(SeqZooError):
    """Training cannot go on, for example because the loss is not finite."""


class ExportError(SeqZooError):
    """The written SavedModel does not reload, or answers otherwise than the model."""


class ParityError(SeqZooError):
    """Two transports give different answers to the same rows."""


class MisuseError(SeqZooError):
    """The request itself is wrong and can be corrected by the caller."""

    exit_code = 2


class UnknownNameError(MisuseError):
    """A name that is not in the table it was looked up in.

    Args:
        kind: What the name stands for, in the singular ("recipe", "data set", "column").
        received: The name as it was given.
        known: The names that exist.
    """

    def __init__(self, kind: str, received: str, known: Iterable[str]) -> None:
        self.kind, self.received, self.known = kind, received, sorted(known)
        super().__init__(f"unknown {kind} '{received}'{suggestion(received, self.known)}")


class ConfigError(MisuseError):
    """A configuration value breaks the rule of its field."""


class PortError(MisuseError):
    """A batch does not fit the ports that a pipeline declares."""


class DataError(MisuseError):
    """A file or table cannot be used as data."""


class DataUnavailableError(DataError):
    """A data file is not in the cache and cannot be downloaded."""


def suggestion(received: str, known: Iterable[str]) -> str:
    """Return the tail of a message: the nearest known name, and the list if it is short."""
    names = sorted(known)
    near = difflib.get_close_matches(received, names, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    listing = f" (known: {', '.join(names)})" if 0 < len(names) <= 12 else ""
    return f"{hint}{listing}"
