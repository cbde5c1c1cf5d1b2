"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def replace(file: Path, content: bytes) -> None:
    """Write a file: aside, flushed to disk, then renamed. Its permissions stay as they are.

    Raises:
        OSError: The folder or the disk does not allow it; the file is as it was.
    """
    file = file.resolve()  # of a link, what it points to is replaced
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    aside = Path(name)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            shutil.copymode(file, aside)
        else:
            aside.chmod(0o644)
        aside.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
