"""`python -m serving.server`: see `serving.server.flags`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from serving.errors import ServingError
from serving.following import follow_parent
from serving.server import flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, then serve until stopped; return the exit code of what could not start.

    The process ends with the server, whatever calls are still running in threads, and with the one
    that launched it.
    """
    follow_parent()
    options = flags.parse(sys.argv[1:] if arguments is None else arguments)
    from serving.server import configs
    from serving.server.addresses import bind

    try:
        settings = configs.read(options)
        wants_rest = options.rest_api_port >= 0
        rest_listener = bind(options.host, options.rest_api_port) if wants_rest else None
        bind(options.host, options.port).close()  # only to fail early: gRPC binds by itself
    except ServingError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr)
        return 1
    from serving.server.app import serve  # imports TensorFlow

    code = serve(settings, rest_listener)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
