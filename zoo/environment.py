"""What a measured number depends on: versions, hardware, git commit, and the code itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any


def environment(*packages: str) -> dict[str, Any]:
    """Return it as JSON values; null for what cannot be found out.

    Args:
        *packages: Those whose versions count.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "git_commit": _git_commit(),
    }


def digest(file: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def loaded_sources(*packages: str) -> dict[str, str]:
    """Return the sha256 of every source file of these packages that this process has loaded.

    Args:
        *packages: Top-level packages that lie beside `zoo`.

    Returns:
        Hexadecimal digests by path, seen from the folder in which `zoo` lies.
    """
    root = Path(__file__).parent.parent
    loaded = [
        Path(file)
        for name, module in sys.modules.items()
        if name.partition(".")[0] in packages and (file := getattr(module, "__file__", None))
    ]
    return {
        file.relative_to(root).as_posix(): digest(file)
        for file in sorted(loaded)
        if file.is_relative_to(root)
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
