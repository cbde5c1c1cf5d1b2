"""Texts as they are written into manifests, so that they arrive as they are."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """Return a text as YAML between double quotes, on one line."""
    found = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in found)


def container_word(text: str) -> str:
    """Return a word of a container's command or environment as YAML.

    Kubernetes puts a variable's value for $(NAME), and one dollar sign for two.
    """
    return quoted(text.replace("$", "$$"))
