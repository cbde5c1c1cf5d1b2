"""Message types made from a table in the notation of a `.proto` file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2

_FIELD = re.compile(
    r"(?:(?P<repeated>repeated) |oneof (?P<oneof>\w+) )?"
    r"(?:map<string, (?P<value>[\w.]+)>|(?P<type>[\w.]+)) (?P<name>\w+) = (?P<number>\d+)"
)
_Field = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True)
class Table:
    """The messages and enums of one package.

    Attributes:
        package: Name of the package.
        messages: Field declarations by message; "Outer.Inner" stands in the message Outer.
        enums: "NAME=0 OTHER=1" by enum.
    """

    package: str
    messages: Mapping[str, Sequence[str]]
    enums: Mapping[str, str] = field(default_factory=dict)

    def declare(self, name: str) -> Any:
        """Make the types known under the name of a file, and return its descriptor.

        Raises:
            ValueError: A line of the table is not a field declaration.
        """
        file = descriptor_pb2.FileDescriptorProto(
            name=name,
            package=self.package,
            syntax="proto3",
            dependency=[any_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name],
        )
        declared: dict[str, Any] = {}
        for full_name, lines in self.messages.items():
            parent, _, own = full_name.rpartition(".")
            siblings = declared[parent].nested_type if parent else file.message_type
            declared[full_name] = siblings.add(name=own)
            for line in lines:
                self._add_field(declared[full_name], full_name, line)
        for full_name, values in self.enums.items():
            parent, _, own = full_name.rpartition(".")
            enum = (declared[parent] if parent else file).enum_type.add(name=own)
            for value in values.split():
                label, number = value.split("=")
                enum.value.add(name=label, number=int(number))
        return descriptor_pool.Default().AddSerializedFile(file.SerializeToString())

    def _add_field(self, message: Any, full_name: str, line: str) -> None:
        """Add the field that a line declares."""
        match = _FIELD.fullmatch(line)
        if match is None:
            raise ValueError(f"{full_name}: '{line}' is not a field declaration")
        added = message.field.add(name=match["name"], number=int(match["number"]))
        if match["value"]:
            self._add_map_entry(message, full_name, added, match["value"])
            return
        added.label = _Field.LABEL_REPEATED if match["repeated"] else _Field.LABEL_OPTIONAL
        self._set_type(added, match["type"])
        if match["oneof"]:
            names = [oneof.name for oneof in message.oneof_decl]
            if match["oneof"] not in names:
                message.oneof_decl.add(name=match["oneof"])
                names.append(match["oneof"])
            added.oneof_index = names.index(match["oneof"])

    def _add_map_entry(self, message: Any, full_name: str, added: Any, value: str) -> None:
        """Declare `map<string, value>`: on the wire a repeated message of a key and a value."""
        camel = "".join(part.capitalize() for part in added.name.split("_"))
        entry = message.nested_type.add(name=f"{camel}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
        self._set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), value)
        added.label, added.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        added.type_name = f".{self.package}.{full_name}.{entry.name}"

    def _set_type(self, added: Any, name: str) -> None:
        """Fill in a field's type: a scalar, an enum of ours, or a message (ours if undotted)."""
        scalar = f"TYPE_{name.upper()}"
        if scalar in _Field.Type.keys():
            added.type = _Field.Type.Value(scalar)
        elif name.startswith("google."):
            added.type, added.type_name = _Field.TYPE_MESSAGE, f".{name}"
        else:
            added.type = _Field.TYPE_ENUM if name in self.enums else _Field.TYPE_MESSAGE
            added.type_name = f".{self.package}.{name}"
