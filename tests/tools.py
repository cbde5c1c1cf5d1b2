"""What tests of several packages use: tools of the environment, ports, and patience."""

from __future__ import annotations

import functools
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes_validate import utils
from packaging.version import Version

DEADLINE = 30.0
"""Seconds after which what is waited for counts as never coming."""

TOOLS = Path(sys.executable).parent
"""Folder of the tools of requirements-dev.txt."""

# Else a schema of a megabyte is read anew for every manifest.
utils.schema_contents = functools.cache(utils.schema_contents)

OLDEST_KUBERNETES = Version("1.30")
KUBERNETES = [
    each
    for each in sorted({*utils.all_versions()}, key=Version)
    if Version(each) >= OLDEST_KUBERNETES
]
"""Versions that manifests have to fit."""


def run(*command: str | Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a command that reads a text."""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def lint_dockerfile(text: str) -> str:
    """Return what hadolint has to say about a Dockerfile."""
    return run(TOOLS / "hadolint", "--failure-threshold", "style", "-", text=text).stdout


def in_dockerfile(text: str, pattern: str) -> list[Any]:
    """Return what a regular expression finds at the begin of a Dockerfile's lines."""
    return re.findall(f"^{pattern}", text.replace("\\\n", ""), re.MULTILINE)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(holds: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Wait until a condition holds; fail if it takes far too long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.005)
