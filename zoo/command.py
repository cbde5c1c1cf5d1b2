"""What every command line of this project does with what comes of it: lines and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from zoo.errors import SeqZooError


def exit_code(
    dispatch: Callable[[list[str]], int],
    arguments: Sequence[str] | None,
    interrupted: str,
    failures: tuple[type[Exception], ...] = (),
) -> int:
    """Run a command and return 0, 1 for a failure, 2 for misuse, or 130 for Ctrl-C.

    Args:
        dispatch: Runs the command that the words name.
        arguments: The words; None for those of the process.
        interrupted: What is told at Ctrl-C.
        failures: Further errors that are told in a line, as failures.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # TensorFlow's C++ side logs from its import on; what matters it raises as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return dispatch(words)
    except SeqZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except failures as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of a pipe went away, as `| head` does: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
