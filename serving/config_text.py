"""Changes one label in the text of a ModelServerConfig, and leaves the rest as it was written.

Protobuf itself can only write such a text anew, without the comments of the people who keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*) | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""| (?P<word>[\w.+-]+) | (?P<open>[{<]) | (?P<close>[}>]) | (?P<other>[^\s])""",
    re.VERBOSE,
)
_REST_OF_LINE = re.compile(r"[ \t]*[,;]?[ \t]*(?:#[^\n]*)?$", re.MULTILINE)


@dataclass
class _Block:
    """A message in the text.

    Attributes:
        name: Name of the field that holds it.
        end: Where the text goes on after its closing brace.
        scalars: The last value of each scalar field: as it is written, and where.
        blocks: The messages in it.
    """

    name: str
    end: int = 0
    scalars: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    blocks: list[_Block] = field(default_factory=list)

    def inside(self, name: str) -> Iterator[_Block]:
        """Yield the messages of a field."""
        return (block for block in self.blocks if block.name == name)

    def has(self, name: str, text: str) -> bool:
        """Say whether a scalar field is written as this string."""
        return self.scalars.get(name, ("",))[0] in (f'"{text}"', f"'{text}'")


def with_label(text: str, model: str, label: str, version: int) -> str | None:
    """Return the text with a label of a model standing for a version.

    Returns:
        The changed text; None if the model is not found, as it may be written in a way that is
        not understood here. What is returned must be parsed and compared by the caller.
    """
    models = [
        config
        for listing in _parse(text).inside("model_config_list")
        for config in listing.inside("config")
        if config.has("name", model)
    ]
    if not models:
        return None
    labels = list(models[0].inside("version_labels"))
    for entry in reversed(labels):  # of two entries for a label the last one counts
        if entry.has("key", label) and "value" in entry.scalars:
            _, start, end = entry.scalars["value"]
            return f"{text[:start]}{version}{text[end:]}"
    after = labels[-1].end if labels else models[0].scalars["name"][2]
    line = text.rfind("\n", 0, after) + 1
    indent = re.match(r"[ \t]*", text[line:])[0]  # type: ignore[index]
    if rest := _REST_OF_LINE.match(text, after):
        after = rest.end()
    entry_text = f'\n{indent}version_labels {{ key: "{label}" value: {version} }}'
    return text[:after] + entry_text + text[after:]


def _parse(text: str) -> _Block:
    """Return the messages of a text; what is no text of a message gives any tree."""
    root = _Block("")
    open_blocks = [root]
    name, colon = "", False
    for token in _TOKEN.finditer(text):
        kind, value, block = token.lastgroup, token[0], open_blocks[-1]
        if kind == "comment":
            continue
        if kind == "open":
            block.blocks.append(_Block(name))
            open_blocks.append(block.blocks[-1])
        elif kind == "close":
            block.end = token.end()
            open_blocks = open_blocks[:-1] or [root]
        elif value == ":":
            colon = True
            continue
        elif colon and kind in ("string", "word"):
            block.scalars[name] = (value, token.start(), token.end())
        name, colon = value if kind == "word" else "", False
    return root
