"""Folders of `*.jinja` files as the texts of a tree of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_SUFFIX = ".jinja"


def load(folder: Any) -> dict[str, str]:
    """Return the text of every template in a folder of a package, by the path that it makes.

    Args:
        folder: As `importlib.resources.files` returns it.
    """
    return dict(_walk(folder))


def fill(
    templates: Mapping[str, str],
    values: Mapping[str, Any],
    parts: Mapping[str, str] | None = None,
    filters: Mapping[str, Callable[..., str]] | None = None,
) -> dict[str, str]:
    """Return the text of every file by its path.

    Args:
        templates: From `load`.
        values: What the templates are filled with; a name that is missing is an error.
        parts: Further templates, which these include or import by their path.
        filters: Functions by the name that templates call them by.
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        loader=DictLoader({**templates, **(parts or {})}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters or {})
    return {path: environment.get_template(path).render(values) for path in templates}


def _walk(folder: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            name = ".dockerignore" if name == "dockerignore" else name
            yield prefix + name, entry.read_text(encoding="utf-8")
