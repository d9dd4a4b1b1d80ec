"""Write docs/mqtt-reference.md and docs/schemas from the models of the messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_occ.mqtt.asyncapi import CHANNELS
from edge_occ.mqtt.schemas import json_schemas, write_schemas

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "mqtt-reference.md"

_HEAD = """# Keys of the MQTT messages

*Generated from the code by `make docs`; do not edit.*

Topics are `<prefix>/<device>/<kind>`, or `<prefix>/<device>/<camera>/<kind>` where the camera has a name;
[MQTT](mqtt.md) says when they are sent and what is lost when. The same for programs: [JSON
Schemas](schemas/score.json) (2020-12), one a kind, and an [AsyncAPI 3 document](schemas/asyncapi.json) of topics,
quality of service and payloads. Every key is in every message that the inspector sends. Newer versions may add keys.
"""
_LIMITS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} items",
}
_MAX_EXACT = 2**53 - 1


def page() -> str:
    """The whole page in Markdown."""
    schemas = json_schemas()
    return "\n".join([_HEAD, *(_section(kind, schemas[kind.replace("/", "-")]) for kind in CHANNELS)])


def _section(kind: str, schema: dict[str, Any]) -> str:
    channel = CHANNELS[kind]
    facts = [f"QoS {channel.qos}", "retained" if channel.retain else "not retained", f"`{channel.content_type}`"]
    lines = [f"## `{kind}`\n", f"{channel.summary} {', '.join(facts)}.\n"]
    if channel.content_type != "application/json":
        lines.append("The keys below are those of the JSON in the comment.\n")
    defined = schema.get("$defs", {})
    if "properties" in schema:  # a request is one of several
        lines.append(_table(schema, defined))
    for name in _nested(schema, defined):
        lines.append(f"### `{name}` in `{kind}`\n\n{defined[name]['description']}\n")
        lines.append(_table(defined[name], defined))
    return "\n".join(lines)


def _nested(schema: dict[str, Any], defined: dict[str, Any]) -> list[str]:
    """The names of the definitions that are objects."""
    return [name for name, part in defined.items() if "properties" in part and part is not schema]


def _table(schema: dict[str, Any], defined: dict[str, Any]) -> str:
    rows = [
        f"| `{name}` | {_type(field, defined)} | {_description(field, defined)} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows, ""])


def _description(field: dict[str, Any], defined: dict[str, Any]) -> str:
    found = field.get("description", "")
    if "$ref" in field and not found:
        found = defined[_reference(field)]["description"]
    return " ".join(found.split()).replace("|", "/")


def _type(field: dict[str, Any], defined: dict[str, Any]) -> str:
    """Type, values and range of a field, in words."""
    if "$ref" in field:
        name = _reference(field)
        return f"object `{name}`" if "properties" in defined[name] else _type(defined[name], defined)
    if "anyOf" in field:
        return " or ".join(_type(item, defined) for item in field["anyOf"])
    values = [field["const"]] if "const" in field else field.get("enum")
    if values:
        return ", ".join(f"`{value}`" for value in values)
    name = f"list of {_type(field['items'], defined)}" if field["type"] == "array" else field["type"]
    limits = [text.format(field[key]) for key, text in _LIMITS.items() if field.get(key, _MAX_EXACT) != _MAX_EXACT]
    return " ".join([name, ", ".join(limits)]).strip()


def _reference(field: dict[str, Any]) -> str:
    return str(field["$ref"]).rpartition("/")[2]


if __name__ == "__main__":
    write_schemas(DOCS / "schemas")
    PAGE.write_text(page(), encoding="utf-8")
