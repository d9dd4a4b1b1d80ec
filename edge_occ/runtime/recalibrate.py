"""The application behind ``edge-occ recalibrate``: a bundle, new normal frames through an engine, a new version."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.recalibration import Recalibration, recalibrate, require_fitter
from edge_occ.bundle.versions import file_digest, replace_bundle
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from edge_occ.common.progress import PhaseReport
from edge_occ.output.preview import preview
from edge_occ.runtime.collecting import FrameCollector
from edge_occ.runtime.config import RunConfig
from edge_occ.sources.files import FileSource
from edge_occ.sources.frame import Source
from edge_occ.sources.opening import open_source
from edge_occ.sources.pictures import Pictures
from engines.base import EngineOptions

_GOOD = Path("train") / "good"
"""Folder of the good images in MVTec's layout."""


@dataclass(frozen=True)
class RecalibrationJob:
    """A recalibration to do: the bundle, and the frames.

    Attributes:
        bundle: file of the bundle.
        data: folder of pictures of good parts, or in MVTec's layout; ``None``: frames come from ``source``.
        source: address of a source; see :mod:`edge_occ.sources.uri`.
        frames: number of frames to take; ``None``: all of the folder.
        every: seconds of capture between two frames at least.
        threshold_only: keep the heads.
        out: the new bundle; ``None``: it takes the place of the current one, which is kept next to it.
        engine, precision: see :func:`edge_occ.bundle.loading.load_engine`.
        sha256: digest that the bundle must have, if given.
        config: settings of the inspector, of which source, guards and engine are used.
    """

    bundle: Path
    data: Path | None = None
    source: str | None = None
    frames: int | None = None
    every: float = 0.0
    threshold_only: bool = False
    out: Path | None = None
    engine: str = "auto"
    precision: str = "auto"
    sha256: str | None = None
    config: RunConfig = field(default_factory=RunConfig)

    def run(self, notify: Callable[[str], None]) -> Recalibration:
        """Collect frames, recalibrate, check, and write the new version; nothing is changed if anything fails.

        Args:
            notify: called with lines for people.

        Raises:
            InputError: the arguments, the frames or the place of the output are wrong, or the check failed.
            BundleRefused, ParityFailure, EngineUnavailable, SourceLost: from the parts.
        """
        # A link stays one: the file that it names gets the new version.
        path = self.bundle.resolve()
        target = path if self.out is None else _checked(self.out.resolve())
        # A missing file, and another digest, are for read_bundle to report.
        digest = file_digest(path) if path.is_file() and self.sha256 is None else self.sha256
        current = read_bundle(path, digest)
        source, total = self._source(current)
        fitter = None if self.threshold_only else require_fitter(current)
        options = self.config.engine.options()
        loaded = _load(current, self.engine, self.precision, options, notify)
        with closing(loaded.engine) as engine:
            notify(loaded.summary)
            name, precision = engine.name, engine.precision
            collector = FrameCollector(
                current, engine, self.config.guards, features=fitter is not None, every=self.every, notify=notify
            )
            with source:
                frames = collector.run(source, self.frames, total)
        parent = digest or file_digest(path)
        done = recalibrate(current, frames, fitter, parent.lower(), preview)
        # The engine that will run has to compute the new scores, too.
        _load(done.bundle, name, _kept(precision, done), options, notify).engine.close()
        replace_bundle(target, done.bundle)
        return done

    def _source(self, bundle: Bundle) -> tuple[Source, int | None]:
        """The source, not entered, and the number of its frames where it is known."""
        white = bundle.manifest.training.white_level
        if self.data is not None:
            folder = self.data / _GOOD if (self.data / _GOOD).is_dir() else self.data
            pictures = Pictures(str(folder), white)
            count = len(find_images(folder))
            return FileSource(pictures), count if self.frames is None else min(self.frames, count)
        patience, triggered = self.config.source.patience(), self.config.source.triggered
        return open_source(str(self.source), patience, triggered=triggered, white=white), None


def _load(
    bundle: Bundle, name: str, precision: str, options: EngineOptions, notify: Callable[[str], None]
) -> LoadedEngine:
    with PhaseReport() as progress:
        return load_engine(bundle, name, precision, options, notify=notify, progress=progress)


def _kept(precision: str, done: Recalibration) -> str:
    """The precision that ran, or the one that ``auto`` takes where the new bundle does not have it any more."""
    return precision if precision in done.bundle.precisions else "auto"


def _checked(out: Path) -> Path:
    """Check before the work that a bundle may be written.

    Raises:
        InputError: another name, or a file that is no bundle has its place.
    """
    if out.suffix != ".occ":
        raise InputError("a bundle's name that ends in .occ", str(out), f"use --out {out.with_suffix('.occ')}")
    if out.exists():
        read_bundle(out)
    return out
