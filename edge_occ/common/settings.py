"""YAML files and ``--set key=value`` to validated settings."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from edge_occ.common.errors import InputError
from edge_occ.common.plain_yaml import DEEPEST, parse_yaml

logger = logging.getLogger(__name__)

_LIMIT = 1 << 16
"""Bytes of a configuration file; one of every setting has 3,000."""

_quote = reprlib.Repr()
_quote.maxstring = _quote.maxother = 80

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


def load_settings(model: type[Model], files: Sequence[Path], overrides: Sequence[str]) -> Model:
    """Merge files and overrides, later ones winning, and validate.

    Args:
        model: the settings.  A section may have a mapping ``renamed`` from earlier names of its fields to the current
            ones; earlier names are accepted, and the first use of each is logged.
        files: YAML mappings of the model's fields.
        overrides: ``section.field=value``, the value in YAML.

    Raises:
        InputError: a file is missing or no mapping, a field is unknown or its value out of range.
    """
    merged: dict[str, Any] = {}
    for path in files:
        _merge(merged, _with_current_names(_read(path), model))
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key:
            raise InputError("--set section.field=value", repr(override), "for instance --set optimiser.steps=1000")
        parts = key.split(".")
        if len(parts) > DEEPEST:
            raise InputError(f"a setting of at most {DEEPEST} levels", f"--set {override}", "leave levels out")
        content: Any = _parse(value, f"--set {override}")
        for part in reversed(parts):
            content = {part: content}
        _merge(merged, _with_current_names(content, model))
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise _invalid(error, model) from error


def preset(name: str) -> Path:
    """The file of a preset.

    Raises:
        InputError: no such preset; the known ones are listed.
    """
    known = {path.stem: path for path in sorted(configs().joinpath("presets").glob("*.yaml"))}
    if name not in known:
        raise InputError(f"a preset of {', '.join(known)}", repr(name), "choose one with --preset")
    return known[name]


def configs() -> Path:
    """The folder ``configs``: inside an installed package, or next to the package in a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "configs"
    return installed if installed.is_dir() else here.parent / "configs"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"a configuration file at {path}", str(error), "check --config") from error
    if len(data) > _LIMIT:
        limit = f"{_LIMIT >> 10} KB"
        raise InputError(f"a configuration file of at most {limit}", f"{path}, which is larger", "check --config")
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"sections and fields in {path}", found, "see the files in configs/")
    return content


def _parse(text: str, where: str) -> Any:  # noqa: ANN401 - YAML holds anything
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise InputError(f"valid YAML in {where}", str(error), "correct it; configs/ has examples") from error


def _with_current_names(content: dict[str, Any], model: type[BaseModel], within: str = "") -> dict[str, Any]:
    """One file or override, with earlier names of settings replaced by the current ones.

    Before merging, so that a later layer wins whichever names the layers use.
    """
    renamed: Mapping[str, str] = getattr(model, "renamed", {})
    current: dict[str, Any] = {}
    for key, value in content.items():
        name = renamed.get(key, key)
        if name != key:
            _log_renamed(within + key, within + name)
        field = model.model_fields.get(name)
        section = _section(field.annotation) if field else None
        _merge(current, {name: _section_names(value, section, f"{within}{name}.") if section else value})
    return current


def _section_names(value: Any, section: type[BaseModel], within: str) -> Any:  # noqa: ANN401 - YAML holds anything
    match value:
        case dict():
            return _with_current_names(value, section, within)
        case list():
            return [_section_names(item, section, f"{within}{i}.") for i, item in enumerate(value)]
    return value


@cache
def _log_renamed(earlier: str, current: str) -> None:
    logger.warning("the setting %s is called %s now; the earlier name is still accepted", earlier, current)


def _merge(into: dict[str, Any], content: dict[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _invalid(error: ValidationError, model: type[BaseModel]) -> InputError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "the settings"
    if first["type"] in ("extra_forbidden", "invalid_key"):
        return InputError("a known setting", _quote.repr(name), _near(name, first, model))
    message = first["msg"].removeprefix("Value error, ")
    return InputError(f"a valid {name}", f"{_quote.repr(first['input'])}: {message}", "correct it in --config or --set")


def _near(name: str, error: ErrorDetails, model: type[BaseModel]) -> str:
    """The settings that an unknown name may mean: of another section, misspelt, or all that its section has."""
    *path, leaf = map(str, error["loc"])
    section, within = model, ""
    for part in path:
        within += f"{part}."
        # An item of a list has a number in between.
        section = section if part.isdecimal() else _section(section.model_fields[part].annotation) or section
    siblings = [within + sibling for sibling in section.model_fields]
    known = field_names(model)
    moved = [other for other in known if other.rpartition(".")[2] == leaf]
    near = get_close_matches(name, siblings, n=1) or get_close_matches(name, known, n=3)
    meant = ", ".join(dict.fromkeys([*moved, *near]))
    return f"did you mean {meant}?" if meant else f"known are {', '.join(siblings)}"


def _section(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - annotations are of no one type
    """The model in a field's annotation, which may be optional or a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All settings of a model, as ``section.field``."""
    names = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names += field_names(annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names
