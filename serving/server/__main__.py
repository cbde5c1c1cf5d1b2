"""`python -m serving.server`: see `serving.server.flags`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from serving.errors import Unreachable
from serving.server import flags
from serving.server.addresses import bind


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, then serve until stopped; return the exit code."""
    options = flags.parse(sys.argv[1:] if arguments is None else arguments)
    try:
        rest_listener = bind(options.host, options.rest_api_port)
        bind(options.host, options.port).close()  # only to fail early: gRPC binds by itself
    except Unreachable as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr)
        return 1
    from serving.server.app import serve  # imports TensorFlow

    return serve(options, rest_listener)


if __name__ == "__main__":
    sys.exit(main())
