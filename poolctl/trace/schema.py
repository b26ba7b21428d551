"""Schema: the JSON Schema of the documents that poolctl writes, from the records themselves.

In: a record type. Out: a JSON Schema (2020-12). The shipped files `schemas/*.json` are made from it; a test holds them
equal. Additional keys are allowed: a newer minor version may write more.

    python -m poolctl.trace.schema    # writes the files anew
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

from poolctl.trace import comparison, report

DIRECTORY = Path(__file__).parent / "schemas"
DOCUMENTS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "report-1.json": (report.Report, report.SCHEMA, ("load", "sizing")),
    "comparison-1.json": (comparison.Comparison, comparison.SCHEMA, ()),
}
"""File -> the record, the value of its `schema` key, the keys that may be missing."""
_PLAIN: dict[Any, Any] = {str: "string", int: "integer", bool: "boolean", float: ["number", "null"]}
"""A float that is not finite is written as null."""


def schema_of(kind: Any, name: str, absent: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema of the documents made from records of this type."""
    definitions: dict[str, Any] = {}
    body = _record(kind, definitions)
    body["properties"]["schema"] = {"const": name}
    body["required"] = [key for key in body["required"] if key not in absent]
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": name, **body, "$defs": dict(sorted(definitions.items()))}


def _record(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    properties = {name: _of(hints[name], definitions) for name in names}
    return {"type": "object", "properties": properties, "required": names}


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [_of(arg, definitions) for arg in args if arg is not type(None)]
        return {"anyOf": [*inner, {"type": "null"}]}
    if origin is list:
        return {"type": "array", "items": _of(args[0], definitions)}
    if origin is tuple:
        items = [_of(arg, definitions) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [member.value for member in kind]}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        definitions[kind.__name__] = _record(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def text_of(file: str) -> str:
    """Return what belongs into the shipped file."""
    kind, name, absent = DOCUMENTS[file]
    return json.dumps(schema_of(kind, name, absent), indent=1) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for file in DOCUMENTS:
        (DIRECTORY / file).write_text(text_of(file))
