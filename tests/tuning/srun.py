"""Stands in for Slurm's `srun`: one process per node, all on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    words = sys.argv[1:]
    first = next(index for index, word in enumerate(words) if not word.startswith("--"))
    given = (word.removeprefix("--").partition("=") for word in words[:first])
    options = {name: value for name, _, value in given}
    with Path(os.environ["SRUN_LOG"]).open("a", encoding="utf-8") as log:
        log.write(" ".join(words[:first]) + "\n")
    running = [
        subprocess.Popen(words[first:], env={**os.environ, "SLURM_NODEID": str(node)})
        for node in range(int(options.get("nodes", "1")))
    ]

    def end(*_: object) -> None:
        """End all processes, as on SIGTERM."""
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    while any(process.poll() is None for process in running):
        if "kill-on-bad-exit" in options and any(process.returncode for process in running):
            end()
        time.sleep(0.02)
    codes = [process.returncode for process in running]
    sys.exit(max(code if code >= 0 else 128 - code for code in codes))
