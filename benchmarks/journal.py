"""What a long measurement has found so far, so that one that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """A file with a line of JSON per finished part, after a first line that says of what.

    Args:
        file: Where the lines are kept.
        subject: What decides about the values. A file of another subject is begun anew.
    """

    def __init__(self, file: Path, subject: dict[str, Any]) -> None:
        self._file = file
        lines = list(_whole_lines(file))
        if lines[:1] != [subject]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(subject) + "\n", encoding="utf-8")
            lines = [subject]
        self._found = {line["part"]: line["value"] for line in lines[1:]}

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return the value of a part: the one on file, or else what measuring it gives."""
        if name in self._found:
            print(f"{name}: measured before")
        else:
            self._found[name] = measure()
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"part": name, "value": self._found[name]}) + "\n")
        return self._found[name]

    def close(self) -> None:
        """Remove the file: everything was measured."""
        self._file.unlink()


def _whole_lines(file: Path) -> list[Any]:
    """Return the lines of the file; the last one may have been cut off by a kill."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    # What follows a line that was cut off must begin on a line of its own.
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]
