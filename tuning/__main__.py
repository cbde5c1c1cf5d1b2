"""`python -m tuning`: search over a recipe's hyperparameters, and tell what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from serving.following import follow_parent
from tuning.commands import COMMANDS
from zoo import onednn
from zoo.command import exit_code
from zoo.errors import UnknownNameError

USAGE = """\
usage: python -m tuning COMMAND [arguments]
       python -m tuning run RECIPE --help

commands:
{commands}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for misuse."""
    onednn.turn_on()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a chief that is away is no news
    follow_parent()
    goes_on = "interrupted: the same command goes on where it stopped"
    return exit_code(_dispatch, arguments, goes_on)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [
            f"  {n:<{width}}  {(f.__doc__ or '').splitlines()[0]}" for n, f in COMMANDS.items()
        ]
        print(USAGE.format(commands="\n".join(lines)))
        return 0
    if words[0] not in COMMANDS:
        raise UnknownNameError("command", words[0], COMMANDS)
    COMMANDS[words[0]](words[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
