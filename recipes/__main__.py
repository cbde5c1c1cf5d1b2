"""`python -m recipes`: list the recipes, or run a command of one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recipes import RECIPES, recipe
from recipes.commands import COMMANDS
from zoo import onednn
from zoo.command import exit_code
from zoo.errors import UnknownNameError

USAGE = """\
usage: python -m recipes RECIPE COMMAND [options]
       python -m recipes RECIPE COMMAND --help

recipes:
{recipes}

commands:
{commands}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for misuse."""
    onednn.turn_on()
    goes_on = "interrupted: the same command goes on from the last checkpoint"
    return exit_code(_dispatch, arguments, goes_on)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0
    module = recipe(words[0])
    if len(words) == 1 or words[1] in ("-h", "--help"):
        print(module.__doc__ and module.__doc__.strip(), "\n\n", _usage(), sep="")
        return 0
    if words[1] not in COMMANDS:
        raise UnknownNameError("command", words[1], COMMANDS)
    COMMANDS[words[1]](words[0], module, words[2:])
    return 0


def _usage() -> str:
    summaries = {name: (run.__doc__ or "").splitlines()[0] for name, run in COMMANDS.items()}
    return USAGE.format(recipes=_table(RECIPES), commands=_table(summaries))


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())


if __name__ == "__main__":
    sys.exit(main())
