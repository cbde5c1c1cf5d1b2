"""`python -m serving.server`: see `serving.server.flags`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from serving.server import flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, then serve until stopped; return the exit code."""
    options = flags.parse(sys.argv[1:] if arguments is None else arguments)
    from serving.server.app import serve  # imports TensorFlow

    return serve(options)


if __name__ == "__main__":
    sys.exit(main())
