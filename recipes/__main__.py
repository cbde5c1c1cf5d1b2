"""`python -m recipes`: list the recipes, or run a command of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from recipes import RECIPES, recipe
from recipes.commands import COMMANDS
from zoo.errors import SeqZooError, UnknownNameError

USAGE = """\
usage: python -m recipes RECIPE COMMAND [options]
       python -m recipes RECIPE COMMAND --help

recipes:
{recipes}

commands:
{commands}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for misuse."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # TensorFlow's C++ side logs from its import on; what matters it raises as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return _dispatch(words)
    except SeqZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe went away, as `| head` does: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


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
