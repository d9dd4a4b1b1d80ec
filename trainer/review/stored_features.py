"""``NAME.features.safetensors`` next to a bundle: the features, names and held-out scores of its good images.

A refit needs neither the images nor the encoder with it.  Tensors are ``features`` (``features.1`` and so on for
further branches), ``scores`` and ``maps``; everything else is JSON in the metadata.  It is no member of the bundle, as
no device needs it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_occ.bundle.manifest import Manifest
from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from engines.base import FEATURES, of_head

SUFFIX = ".features.safetensors"
MAP_SIDE = 64
"""Largest number of rows and columns of a stored map."""

_KEY, _SCORES, _MAPS, _REGION = "edge-occ", "scores", "maps", "region"
_MAX_HEADER = 64 << 20
"""Bytes of names, digests and scores; 100,000 images have 20 MB."""

_FEATURE_TYPES = (np.float16, np.float32)
_TYPES = {_SCORES: (np.float64,), _MAPS: (np.float32,), _REGION: (np.bool_,)}

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class GoodImages(BaseModel):
    """The good images of a bundle, in the order of their features.

    Attributes:
        folder: data folder of the training, absolute.
        data_sha256: fingerprint of all images of the training.
        names: paths relative to the data folder, or of added frames of events, each once.
        parts: number of the part that each image shows, from 0 without gaps.
        digests: SHA-256 of each image's pixels, see :func:`trainer.data.images.pixel_digest`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    data_sha256: str
    names: tuple[str, ...] = Field(min_length=1)
    parts: tuple[Annotated[int, Field(ge=0)], ...]
    digests: tuple[_Digest, ...]

    @model_validator(mode="after")
    def _consistent(self) -> GoodImages:
        if not len(set(self.names)) == len(self.names) == len(self.parts) == len(self.digests):
            raise ValueError("names that differ, and a part and digest for each")
        if set(self.parts) != set(range(len(set(self.parts)))):
            raise ValueError("parts that are numbered from 0 without gaps")
        return self


class _Facts(BaseModel):
    """The metadata of a file: its images, and the :attr:`~edge_occ.bundle.manifest.Manifest.identity` of its bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["edge-occ/features/1"] = Field("edge-occ/features/1", alias="schema")
    bundle: str
    images: GoodImages


@dataclass(frozen=True)
class StoredFeatures:
    """Everything that a refit and a review need.

    Attributes:
        images: the ``n`` good images.
        scores: image score of each by heads that had not seen its part, as it was taken, float64 ``[n]``.
        features: of the images, then of their changed copies, ``[m, rows, columns, d]`` for each branch, float16;
            float32 where a feature exceeds the range of float16.  ``m`` is a multiple of ``n``.
        maps: held-out score map of each image, float32 ``[n, rows, columns]``; a cell has the highest score in it.
            ``None`` where the held-out scores have no place.
        region: pixels of the resized frame that were inspected, bool ``[height, width]``; ``None``: all.
    """

    images: GoodImages
    scores: NDArray[np.float64]
    features: tuple[NDArray[np.floating[Any]], ...]
    maps: NDArray[np.float32] | None
    region: NDArray[np.bool_] | None = None


def features_path(bundle: Path) -> Path:
    """Return the file next to a bundle that holds its features."""
    return bundle.with_suffix(SUFFIX)


def compact(features: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """Return features as float16, or unchanged where that would overflow."""
    if np.abs(features).max(initial=0) > np.finfo(np.float16).max:
        return features
    return features.astype(np.float16)


def write_features(path: Path, stored: StoredFeatures, manifest: Manifest) -> None:
    """Write the features of a bundle's images atomically.

    Args:
        path: the file.
        stored: the content.
        manifest: of the bundle, which the file is then bound to.

    Raises:
        InputError: it cannot be written (disk full, no permission).
    """
    tensors: dict[str, NDArray[Any]] = {of_head(FEATURES, i): of for i, of in enumerate(stored.features)} | {
        _SCORES: stored.scores
    }
    if stored.maps is not None:
        tensors[_MAPS] = stored.maps
    if stored.region is not None:
        tensors[_REGION] = stored.region
    facts = _Facts(bundle=manifest.identity, images=stored.images)
    whole = {name: np.ascontiguousarray(of) for name, of in tensors.items()}
    data = safetensors.numpy.save(whole, {_KEY: facts.model_dump_json(by_alias=True)})
    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise InputError(
            f"to write features of {len(data) / 1e6:.0f} MB to {path}",
            f"{error.strerror or error}",
            "make room, then type the same command; training will not be repeated",
        ) from error


def read_features(bundle: Path, manifest: Manifest) -> StoredFeatures:
    """Read the features that were stored next to a bundle.

    Args:
        bundle: file of the bundle.
        manifest: its manifest, which says how large the tensors may be.

    Raises:
        InputError: there are none, they are of another bundle, or they are damaged.
    """
    path = features_path(bundle)
    if manifest.geometry.tiles is not None:
        raise InputError(
            f"a bundle whose training images have stored features, not {bundle.name}",
            "frames that are cut into tiles, of which no features are stored",
            "train without input.tiles to review its images",
        )
    if not path.is_file():
        raise InputError(
            f"the features of {bundle.name} next to it, in {path}",
            "no such file",
            "copy it there from where the bundle was made, or train again without export.features=false",
        )
    facts = _facts(path)
    if facts.bundle != manifest.identity:
        raise InputError(
            f"the features of this bundle, {manifest.identity}, in {path}",
            f"those of bundle {facts.bundle}",
            "copy the bundle and its features together from where they were made, or train again",
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _check_shapes(shapes, facts.images, manifest)
            tensors = {name: file.get_tensor(name) for name in shapes}
    except (OSError, safetensors.SafetensorError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _TYPES.get(name, _FEATURE_TYPES) or not np.isfinite(tensor).all():
            raise _damaged(path, f"{name} that are no finite {tensor.dtype}")
    scores, maps, region = tensors.pop(_SCORES), tensors.pop(_MAPS, None), tensors.pop(_REGION, None)
    features = tuple(tensors[of_head(FEATURES, i)] for i in range(len(tensors)))
    return StoredFeatures(facts.images, scores, features, maps, region)


def require_own_features(path: Path) -> None:
    """Check before the work that features may be stored in a file.

    Raises:
        InputError: another file has its place.
    """
    if path.exists():
        try:
            _facts(path)
        except InputError as error:
            raise InputError(
                f"no file or earlier features at {path}",
                "something that edge-occ did not write, or a damaged file",
                "move it away, or choose another place with --out",
            ) from error


def _facts(path: Path) -> _Facts:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MAX_HEADER:
                raise _damaged(path, f"a header of {length} bytes")
            header = json.loads(file.read(length))
        return _Facts.model_validate_json(header["__metadata__"][_KEY])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _check_shapes(shapes: dict[str, tuple[int, ...]], images: GoodImages, manifest: Manifest) -> None:
    """Check the shapes before any tensor is read.

    Raises:
        ValueError: they do not follow from the bundle.
    """
    branches: Sequence[dict[str, Any]] = manifest.head["branches"]
    n, parts = len(images.names), len(set(images.parts))
    shots = n * (1 + manifest.training.config["camera_changes"]["copies"])
    expected = {of_head(FEATURES, i): (shots, *branch["grid"], branch["dim"]) for i, branch in enumerate(branches)}
    maps = shapes.get(_MAPS)
    expected[_SCORES] = (n,)
    found = {name: shape for name, shape in shapes.items() if name not in (_MAPS, _REGION)}
    if (n, parts) != (manifest.training.images, manifest.calibration.n) or found != expected:
        wanted = f"{manifest.training.images} images of {manifest.calibration.n} parts"
        raise ValueError(f"tensors {found} of {n} images of {parts} parts, not {expected} of {wanted}")
    if shapes.get(_REGION, manifest.geometry.size) != manifest.geometry.size:
        raise ValueError(f"a region {shapes[_REGION]}, not {manifest.geometry.size}")
    if maps is not None and (len(maps) != 3 or maps[0] != n or not 1 <= min(maps[1:]) <= max(maps[1:]) <= MAP_SIDE):
        raise ValueError(f"maps {maps}")


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        f"stored features of edge-occ in {path}", found, "copy the file again from where it was made, or train again"
    )
