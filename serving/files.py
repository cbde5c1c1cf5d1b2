"""Files and folders that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


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


@contextlib.contextmanager
def aside(out: Path) -> Iterator[Path]:
    """Give the path of a folder beside `out`, to be filled and then renamed to it.

    Whatever is at that path when the block ends is removed.
    """
    out = out.resolve()
    folder = out.parent / f".{out.name}.{os.getpid()}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_tree(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts into a folder by their paths, and let everybody read all that is in it.

    Raises:
        OSError: The disk does not allow it.
    """
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for entry in (folder, *folder.rglob("*")):
        entry.chmod(_FOLDER_MODE if entry.is_dir() else _FILE_MODE)
