"""`python -m serving`: serve an exported model, ask it, measure it, and move its labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from serving.commands import COMMANDS, command
from serving.errors import ServingError
from zoo import onednn
from zoo.command import exit_code
from zoo.errors import MisuseError

USAGE = """\
usage: python -m serving COMMAND [arguments]
       python -m serving COMMAND --help

commands:
{commands}"""


class _Parser(argparse.ArgumentParser):
    """Complains in one line, as the rest of the project does."""

    def error(self, message: str) -> NoReturn:
        raise MisuseError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for misuse."""
    onednn.turn_on()
    return exit_code(_dispatch, arguments, "interrupted", (ServingError,))


def _dispatch(words: list[str]) -> int:
    if not words:
        raise MisuseError("a command is missing (see python -m serving --help)")
    if words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {name:<{width}}  {command(name).HELP}" for name in COMMANDS)
        print(USAGE.format(commands="\n".join(lines)))
        return 0
    module = command(words[0])
    parser = _Parser(
        f"python -m serving {words[0]}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return module.run(parser.parse_args(words[1:])) or 0


if __name__ == "__main__":
    sys.exit(main())
