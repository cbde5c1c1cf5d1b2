"""Threads for work that nobody waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)


class Workers:
    """A fixed number of threads that do jobs in the order in which they come.

    The process can end while they are at work, which threads of a pool would not let it.

    Args:
        count: How many jobs are done at the same time.
    """

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True).start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done as soon as a thread is free."""
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            try:
                self._jobs.get()()
            except Exception:  # the next job is not to blame
                log.exception("a job of the server failed")
