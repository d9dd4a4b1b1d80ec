"""YAML files and ``--set key=value`` to validated settings."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from edge_occ.errors import InputError

_LIMIT = 1 << 20

Model = TypeVar("Model", bound=BaseModel)


def load_settings(model: type[Model], files: Sequence[Path], overrides: Sequence[str]) -> Model:
    """Merge files and overrides, later ones winning, and validate.

    Args:
        model: the settings.
        files: YAML mappings of the model's fields.
        overrides: ``section.field=value``, the value in YAML.

    Raises:
        InputError: a file is missing or no mapping, a field is unknown or its value out of range.
    """
    merged: dict[str, Any] = {}
    for path in files:
        _merge(merged, _read(path))
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key:
            raise InputError("--set section.field=value", repr(override), "for instance --set optimiser.steps=1000")
        content: Any = _parse(value, f"--set {override}")
        for part in reversed(key.split(".")):
            content = {part: content}
        _merge(merged, content)
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
    """The folder ``configs``: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "configs"
    return installed if installed.is_dir() else here.parent / "configs"


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise InputError("a configuration file of at most 1 MB", f"{path}, which is larger", "check --config")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"a configuration file at {path}", str(error), "check --config") from error
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        raise InputError(f"sections and fields in {path}", type(content).__name__, "see the files in configs/")
    return content


def _parse(text: str, where: str) -> Any:  # noqa: ANN401 - YAML holds anything
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"valid YAML in {where}", str(error).replace("\n", " "), "correct it") from error


def _merge(into: dict[str, Any], content: dict[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _invalid(error: ValidationError, model: type[BaseModel]) -> InputError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "the settings"
    if first["type"] == "extra_forbidden":
        known = field_names(model)
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        return InputError("a known setting", repr(name), f"did you mean {', '.join(near or known)}?")
    message = first["msg"].removeprefix("Value error, ")
    return InputError(f"a valid {name}", f"{first['input']!r}: {message}", "correct it in --config or --set")


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
