"""``edge-occ recalibrate``: heads and threshold again from new normal frames, on the device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.guarantee import guarantee, images_needed
from edge_occ.bundle.provenance import Recalibrated
from edge_occ.bundle.recalibration import Recalibration
from edge_occ.bundle.versions import roll_back
from edge_occ.cli.options import BundleFile, Config, EngineName, Json, Precision, Settings, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.recalibrate import RecalibrationJob

SCHEMA, ROLLBACK_SCHEMA = "edge-occ/recalibration/1", "edge-occ/rollback/1"


def recalibrate(  # noqa: PLR0913 - one parameter an option
    bundle: BundleFile,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of new pictures of good parts, or in MVTec's layout.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="URI", help="The same as for run, with its options; needs --frames.")
    ] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many usable frames.")] = None,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Seconds between two frames of a source at least.")
    ] = 0.0,
    threshold_only: Annotated[
        bool, typer.Option("--threshold-only", help="Keep the heads, calibrate the threshold anew: for few frames.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Put the version before the last recalibration back.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the new bundle there; BUNDLE stays as it is.")
    ] = None,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    config: Config = None,
    settings: Settings = None,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Fit heads and threshold to new normal frames, as after a change of the light; without training, on the device.

    The new version takes the place of BUNDLE if its false alarms on held-out frames stay within the guaranteed bound;
    earlier versions stay in NAME.versions/ next to it. Frames must show good parts alone, one a part.

    For instance: `edge-occ recalibrate part.occ --source 0 --frames 150 --every 2`
    """
    if rollback:
        if data is not None or source is not None or frames is not None or out is not None or threshold_only:
            raise InputError("--rollback alone", "other options as well", f"edge-occ recalibrate {bundle} --rollback")
        _roll_back(bundle, json=json)
        return
    if (data is None) == (source is None):
        raise InputError("one of --data and --source", "both" if source else "neither", "for instance --data DIR")
    if source is not None and frames is None:
        raise InputError("--frames with --source", "no number of frames", "add, say, --frames 150")
    begun = time.monotonic()
    options = load_settings(RunConfig, [config] if config else [], settings or [])
    job = RecalibrationJob(bundle, data, source, frames, every, threshold_only, out, engine, precision, sha256, options)
    done = job.run(say)
    written = out or bundle
    _show(done, written, time.monotonic() - begun, replaced=out is None)
    if json:
        print_json(_facts(done))


def _roll_back(bundle: Path, *, json: bool) -> None:
    version = roll_back(bundle.resolve())
    say(f"{bundle} is again the version that was put aside at {version.put_aside_at:%Y-%m-%d %H:%M:%S} UTC")
    if json:
        at = version.put_aside_at.isoformat(timespec="seconds")
        print_json({"schema": ROLLBACK_SCHEMA, "put_aside_at": at, "sha256": version.digest})


def _show(done: Recalibration, written: Path, seconds: float, *, replaced: bool) -> None:
    before, after, record = done.before.calibration, done.bundle.manifest.calibration, done.record
    say(f"{record.frames} frames; left out: {_listed(record)}")
    what = "the heads stay" if record.threshold_only else "heads fitted anew"
    say(f"threshold {before.threshold:.4g} -> {after.threshold:.4g}, from {after.n} frames; {what}")
    say(f"{record.false_alarms} of {record.held_out} frames that were held out are above it")
    if not after.certified:
        say(f"the declared rate needs {images_needed(after.false_alarm_rate)} frames, and some to check it on")
    for precision in done.left_out:
        say(precision)
    say(guarantee(after))
    old = f"; the version before: edge-occ recalibrate {written} --rollback" if replaced else ""
    say(f"{written} written in {seconds:.0f} s{old}")


def _listed(record: Recalibrated) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in record.left_out.items()) or "none"


def _facts(done: Recalibration) -> dict[str, object]:
    before, after, record = done.before, done.bundle.manifest, done.record
    return {
        "schema": SCHEMA,
        "threshold_only": record.threshold_only,
        "frames": record.frames,
        "left_out": record.left_out,
        "threshold": {"old": before.calibration.threshold, "new": after.calibration.threshold},
        "calibration_n": after.calibration.n,
        "certified": after.calibration.certified,
        "held_out": {"n": record.held_out, "false_alarms": record.false_alarms},
        "identity": {"old": before.identity, "new": after.identity},
    }
