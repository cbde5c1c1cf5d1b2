"""The commands of `python -m serving`, one module each, imported when it is asked for.

A module has `HELP` (one sentence), `add_arguments(parser)` and `run(options)`, which returns
the exit code or None for 0. It imports what takes long only when it runs.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from zoo.errors import UnknownNameError

COMMANDS = ("ask", "bench", "bundle", "call", "parity", "promote", "rollback", "serve")


def command(name: str) -> ModuleType:
    """Return the module of a command.

    Raises:
        UnknownNameError: There is none of this name.
    """
    if name not in COMMANDS:
        raise UnknownNameError("command", name, COMMANDS)
    return importlib.import_module(f"serving.commands.{name}")
