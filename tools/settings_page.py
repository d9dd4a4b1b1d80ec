"""Write docs/settings.md from the models of the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.config import default_device
from edge_occ.runtime.config import RunConfig
from trainer.config import TrainConfig

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

_HEAD = f"""# Settings

*Generated from the code by `make docs`; do not edit.*

Settings come from a YAML file given with `--config`; `--set section.field=value` overrides one, and may be repeated.
`edge-occ train` also takes a [preset](presets.md), which is a file of the same settings; the defaults below hold where
a preset says nothing. An unknown name or a value out of range ends the command with status 2.

The user name and password for the broker come from the environment variables `{USERNAME}` and
`{PASSWORD}`, never from settings or an argument ([more](mqtt.md#brokers)).
"""
_SIGNS = {
    "ge": "≥ {}",
    "gt": "> {}",
    "le": "≤ {}",
    "lt": "< {}",
    "multiple_of": "multiple of {}",
    "min_length": "at least {}",
    "max_length": "at most {}",
}
"""Attributes of pydantic's constraints, in words."""


def page() -> str:
    """The whole page in Markdown."""
    parts = [_HEAD, "## `edge-occ run`\n", *_tables(RunConfig), "## `edge-occ train`\n", *_tables(TrainConfig)]
    return "\n".join(parts)


def _tables(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """A model's own fields as one table, then its sections."""
    sections: dict[str, type[BaseModel]] = {}
    rows = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            sections[name] = annotation
        else:
            rows.append(_row(name, field))
    if path:
        yield f"### `{path}`\n"
        yield f"{_first_paragraph(model)}\n"
    if rows:
        yield "\n".join(["| setting | default | range | meaning |", "|---|---|---|---|", *rows, ""])
    for name, section in sections.items():
        yield from _tables(section, f"{path}.{name}" if path else name)


def _row(name: str, field: FieldInfo) -> str:
    limits = _limits(field.metadata)
    cells = (
        f"`{name}`",
        _default(field),
        ", ".join(filter(None, (_kind(field.annotation), limits))),
        field.description,
    )
    return f"| {' | '.join(re.sub('[|]', '/', cell or '') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.default_factory is default_device:
        return "the host's name"
    return f"`{_yaml(field.get_default(call_default_factory=True))}`"


def _yaml(value: Any) -> str:  # noqa: ANN401 - a default is of any type
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _kind(annotation: Any) -> str:  # noqa: ANN401 - annotations are of no one type
    """The values that an annotation allows, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_yaml(value)}`" for value in arguments)
    if origin is Annotated:
        return " ".join(filter(None, (_kind(arguments[0]), _limits(arguments[1:]))))
    if origin in (tuple, dict):
        return _collection(origin, arguments)
    if origin is Union or (origin is not None and getattr(origin, "__name__", "") == "UnionType"):
        return " or ".join(_kind(item) for item in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "sections as below"
    names = {
        int: "whole number",
        float: "number",
        bool: "`true`, `false`",
        str: "text",
        Path: "path",
        type(None): "`null`",
    }
    return names[annotation]


def _collection(origin: type, arguments: Any) -> str:  # noqa: ANN401 - as above
    if origin is dict:
        return f"{_kind(arguments[1])} by name"
    items = [item for item in arguments if item is not Ellipsis]
    return f"list of {_kind(items[0])}" if Ellipsis in arguments else f"[{', '.join(map(_kind, items))}]"


def _limits(metadata: Any) -> str:  # noqa: ANN401 - pydantic's list of anything
    found = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            found.append(_limits(item.metadata))
        found += [sign.format(_number(getattr(item, name))) for name, sign in _SIGNS.items() if hasattr(item, name)]
    return ", ".join(filter(None, found))


def _number(value: float) -> str:
    return f"{value:,}" if value >= 10_000 else f"{value:g}"


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
