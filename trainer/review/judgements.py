"""``review.json``: what a person called the good images that a page showed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_occ.bundle.manifest import Manifest
from edge_occ.common.errors import InputError

SCHEMA = "edge-occ/review/1"
MAX_SHARE = 0.1
"""Largest share of the images that a refit takes out, and of the parts that it adds; more are another training set."""

_LIMIT = 4 << 20
"""Bytes of a file; a hundred an image."""

Label = Literal["good", "defective", "unsure"]


class Judgements(BaseModel):
    """The labels of one review.

    Attributes:
        bundle: :attr:`~edge_occ.bundle.manifest.Manifest.identity` of the bundle.
        labels: by the image's path relative to the data folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["edge-occ/review/1"] = Field(alias="schema")
    bundle: str
    labels: dict[str, Label]


def read_judgements(path: Path) -> Judgements:
    """Read a file that a page gave.

    Raises:
        InputError: it is missing, too large, no JSON, or of another kind.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise _no_review(path, str(error.strerror or error)) from error
    if len(data) > _LIMIT:
        raise _no_review(path, f"a file of more than {_LIMIT >> 20} MB")
    try:
        return Judgements.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _no_review(path, f"{place}: {first['msg']}" if place else first["msg"]) from error


def defective_images(path: Path, bundle: Path, manifest: Manifest, names: Sequence[str]) -> tuple[str, ...]:
    """Return the images that a person called defective, in the order of ``names``.

    Args:
        path: file of the judgements.
        bundle: file of the bundle, for the advice.
        manifest: its manifest.
        names: of its good images.

    Raises:
        InputError: no judgements; those of another bundle; an image that the bundle does not know; no defective one, or
            more than a tenth of all.
    """
    judgements = read_judgements(path)
    again = f"write the page again: edge-occ review {bundle}"
    if judgements.bundle != manifest.identity:
        raise InputError(
            f"a review of {bundle.name}, bundle {manifest.identity}", f"{path}, of bundle {judgements.bundle}", again
        )
    unknown = sorted(set(judgements.labels) - set(names))
    if unknown:
        raise InputError(
            f"images that {bundle.name} was trained on, named relative to the data folder",
            f"{len(unknown)} unknown in {path}, such as {unknown[0]}",
            again,
        )
    called = tuple(name for name in names if judgements.labels.get(name) == "defective")
    if not called:
        raise InputError(
            f"at least one image called defective in {path}",
            f"{len(judgements.labels)} labels and none of them",
            f"nothing is to be done: {bundle.name} is right as it is",
        )
    if len(called) > MAX_SHARE * len(names):
        raise InputError(
            f"at most a tenth of the {len(names)} images called defective",
            f"{len(called)} in {path}",
            "move them out of the data folder and train again",
        )
    return called


def _no_review(path: Path, found: str) -> InputError:
    return InputError(
        f"a review ({SCHEMA}) in {path}", found, "give --exclude the file that the page of edge-occ review saved"
    )
