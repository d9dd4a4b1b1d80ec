"""The bundle, ``NAME.occ``: one open file with everything that a device needs, and no executable code.

A zip without compression: ``manifest.json`` lists every other member with its size and sha256; graphs are ONNX, tensors
are safetensors.  A reader checks names, sizes and hashes before it reads any content.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from edge_occ.bundle.archive import open_archive
from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.bundle.consistency import check_calibration, check_encoder, check_golden, check_graph, check_head
from edge_occ.bundle.manifest import FORMAT, Manifest, Member
from edge_occ.bundle.tensors import golden_from, head_from, refused
from edge_occ.common.errors import BundleRefused, InputError
from edge_occ.common.files import atomic_write
from engines.base import Graph
from engines.parity import Golden

MANIFEST, HEAD, GOLDEN, ENCODER_GRAPH = "manifest.json", "head.safetensors", "golden.safetensors", "encoder.fp32.onnx"
PREVIEW, MODEL_CARD = "preview.jpg", "MODEL_CARD.md"
PRECISIONS = ("fp32", "fp16", "int8")
_REQUIRED = frozenset({"graph.fp32.onnx", HEAD, GOLDEN, PREVIEW, MODEL_CARD})
_OPTIONAL = frozenset({ENCODER_GRAPH, "graph.fp16.onnx", "graph.int8.onnx", "golden.int8.safetensors"})
_MANIFEST_LIMIT = 4 << 20
_TEXT_LIMIT = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle.

    A bundle that was read or written is verified: every member has the size and hash in the manifest, and the members
    are consistent; see :mod:`edge_occ.bundle.consistency`.
    """

    manifest: Manifest
    members: Mapping[str, bytes]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions with a graph."""
        return tuple(p for p in PRECISIONS if graph_name(p) in self.members)

    def graph(self, precision: str = "fp32") -> Graph:
        """Model and head, ready for an engine."""
        return Graph(self.members[graph_name(precision)], precision, self.head)

    @property
    def head(self) -> Mapping[str, NDArray[np.float32]]:
        """The graph's inputs other than the frame.  All precisions share them, as the per-position head is the largest
        part of a bundle.
        """
        return self._head_member[0]

    @property
    def held_out(self) -> NDArray[np.float64]:
        """Scores ``[n]`` of normal images, each by a head that had not seen the image."""
        return self._head_member[1]

    @cached_property
    def _head_member(self) -> tuple[Mapping[str, NDArray[np.float32]], NDArray[np.float64]]:
        return head_from(self.members[HEAD])

    def conformal_threshold(self) -> ConformalThreshold:
        """Return the calibrated threshold, which turns scores into verdicts."""
        return ConformalThreshold(self.held_out.tolist(), self.manifest.calibration.threshold)

    def golden(self, precision: str = "fp32") -> Golden:
        """Return the frames and reference scores of the parity gate."""
        own = self.members.get(reference_name(precision))
        return golden_from(self.members[GOLDEN], self.manifest.calibration.threshold, own)

    @property
    def model_card(self) -> str:
        """The model card, Markdown."""
        return self.members[MODEL_CARD].decode()

    def tolerance(self, precision: str = "fp32") -> float:
        """Return the largest relative error that passes the parity gate."""
        return self.manifest.parity_tolerance[precision]


def graph_name(precision: str) -> str:
    """Return the name of the member with a precision's graph."""
    return f"graph.{precision}.onnx"


def reference_name(precision: str) -> str:
    """Return the name of the member with a precision's own reference for the golden frames, if it is not fp32's."""
    return f"golden.{precision}.safetensors"


def make_bundle(manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> Bundle:
    """Return a checked bundle that is not written yet.

    Args:
        manifest: all fields of :class:`Manifest` but ``members``.
        members: content of every other member.

    Raises:
        BundleRefused: its members are not consistent.
    """
    listed = {name: Member(size=len(data), sha256=_sha256(data)) for name, data in members.items()}
    bundle = Bundle(Manifest.model_validate({**manifest, "members": listed}), members)
    _check(bundle)
    return bundle


def write_bundle(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> Manifest:
    """Write a bundle atomically.

    Args:
        path: the file; replaced in one step, or left unchanged if anything fails.
        manifest: all fields of :class:`Manifest` but ``members``.
        members: content of every other member.

    Raises:
        InputError: it cannot be written (disk full, no permission).
        BundleRefused: its members are not consistent.
    """
    bundle = make_bundle(manifest, members)
    save_bundle(path, bundle)
    return bundle.manifest


def save_bundle(path: Path, bundle: Bundle) -> None:
    """Write a checked bundle atomically.

    Args:
        path: the file; replaced in one step, or left unchanged if anything fails.
        bundle: from :func:`make_bundle` or :func:`read_bundle`.

    Raises:
        InputError: it cannot be written (disk full, no permission).
    """
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(MANIFEST, bundle.manifest.model_dump_json(indent=2, by_alias=True))
            for name, data in bundle.members.items():
                archive.writestr(name, data)
    except OSError as error:
        needed = sum(map(len, bundle.members.values())) / 1e6
        raise InputError(
            f"to write a bundle of {needed:.0f} MB to {path}",
            f"{error.strerror or error}",
            "make room or choose another place with --out, then type the same command; training will not be repeated",
        ) from error


def read_bundle(path: Path, sha256: str | None = None) -> Bundle:
    """Read and verify a bundle.

    Args:
        path: the file.
        sha256: digest that the file must have, as ``sha256sum`` prints it.  A bundle is not signed; the digest shows
            that it is the file that was checked elsewhere.

    Raises:
        InputError: no such file, or ``sha256`` is not a digest.
        BundleRefused: another digest, truncated, edited, of a newer format, or not a bundle; or its members are not
            consistent.
    """
    if not path.is_file():
        raise InputError(
            f"a bundle at {path}", "no such file", "make one with 'edge-occ train --data FOLDER --out NAME.occ'"
        )
    with open_archive(path, sha256) as archive:
        manifest = _manifest(archive.read(MANIFEST, _MANIFEST_LIMIT))
        _check_names(archive.names, set(manifest.members))
        members = {}
        for name, member in manifest.members.items():
            data = archive.read(name, member.size)
            if _sha256(data) != member.sha256:
                raise refused(f"{name} with sha256 {member.sha256[:12]}...", f"sha256 {_sha256(data)[:12]}...")
            members[name] = data
    bundle = Bundle(manifest, members)
    _check(bundle)
    return bundle


def _check(bundle: Bundle) -> None:
    """Check what the members hold.

    Raises:
        BundleRefused: they are not consistent.
    """
    manifest, head = bundle.manifest, bundle.head
    if len(bundle.members[MODEL_CARD]) > _TEXT_LIMIT:
        raise refused(f"{MODEL_CARD} of at most {_TEXT_LIMIT} bytes", f"{len(bundle.members[MODEL_CARD])} bytes")
    try:
        bundle.model_card  # noqa: B018 - decodes it
    except UnicodeDecodeError as error:
        raise refused(f"{MODEL_CARD} in UTF-8", str(error)) from error
    check_calibration(manifest.calibration, bundle.held_out)
    check_head(head)
    features: dict[str, tuple[tuple[int, ...], ...]] = {}
    for precision in bundle.precisions:
        name, golden = graph_name(precision), bundle.golden(precision)
        check_golden(golden, manifest.geometry.size)
        features[precision] = check_graph(name, bundle.members[name], head, golden, manifest.geometry.size)
    if ENCODER_GRAPH in bundle.members:
        check_encoder(ENCODER_GRAPH, bundle.members[ENCODER_GRAPH], manifest.geometry, features["fp32"])


def _manifest(data: bytes) -> Manifest:
    try:
        content = from_json(data, allow_inf_nan=False)
        json.dumps(content, allow_nan=False)  # 1e999 is infinite too
        version = content.get("format") if isinstance(content, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise BundleRefused(
                f"a bundle of format {FORMAT} or older",
                f"format {version}, made by a newer edge-occ",
                "upgrade this one: pip install -U edge-occ",
            )
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise refused(f"a manifest of format {FORMAT}", f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise refused(f"a manifest of format {FORMAT}", str(error)) from error


def _check_names(present: frozenset[str], listed: set[str]) -> None:
    missing = (_REQUIRED | listed) - present
    unknown = (present - listed - {MANIFEST}) | (listed - _REQUIRED - _OPTIONAL)
    if missing or unknown or not listed >= _REQUIRED:
        raise refused("the members of a bundle", f"missing {sorted(missing)}, unknown {sorted(unknown)}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
