"""``edge-occ refit``: a bundle without the images that a person called defective, or with events marked as good."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.guarantee import guarantee
from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import BundleFile, Json, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.images import counted
from edge_occ.common.printable import printable
from edge_occ.common.signals import ending_at_once

_REFIT = re.compile(r"(.+)-refit(?:-(\d+))?")


def refit(
    bundle: BundleFile,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="review.json, saved by the page of edge-occ review.")
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Evidence folder of a camera, in which people marked events as good."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The new bundle; default: NAME-refit.occ.")] = None,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Fit heads and threshold again without images called defective, or with frames of events marked as good.

    It takes seconds and writes a new bundle next to the old one; the encoder stays.

    For instance: `edge-occ refit part.occ --exclude review.json --evidence evidence/left`
    """
    require_extra("torch", "train")
    with ending_at_once():
        from trainer.review.refit import refit as run_refit  # noqa: PLC0415

    target = out or bundle.with_name(f"{next_name(bundle.stem)}.occ")
    replaced = target.exists()
    done = run_refit(bundle, exclude, target, sha256, evidence=evidence)
    before, after, added = done.before.calibration, done.after.calibration, done.added
    if exclude is not None or done.excluded:
        say(f"taken out: {counted(len(done.excluded), 'image')} of {done.before.training.images}")
    for name in done.excluded:
        say(f"- {name}")
    if evidence is not None:
        say(
            f"added: {counted(len(added.names), 'frame')} of events marked as good; not added: {added.known} that are "
            f"among the good images already, {added.without_pose} without a pose"
        )
    for name in added.names:
        say(f"+ {name}")
    say(f"threshold {before.threshold:.4g} -> {after.threshold:.4g}, from {before.n} -> {after.n} held-out parts")
    for precision in done.left_out:
        say(precision)
    say(f"{guarantee(after)} It is about parts like those that are left.")
    if done.after.training.added:
        say("Frames of events are no random good parts: a threshold that they raise finds fewer defects.")
    say(f"{target} {'replaced' if replaced else 'written'} in {done.seconds:.0f} s; {bundle} is unchanged")
    say(f"next: edge-occ run --bundle {target} --camera 0")
    if json:
        print_json(
            {
                "bundle": printable(target),
                "from": printable(bundle),
                "excluded": list(done.excluded),
                "added": list(added.names),
                "known": added.known,
                "without_pose": added.without_pose,
                "left_out": list(done.left_out),
                "seconds": round(done.seconds, 1),
                "before": before.model_dump(mode="json"),
                "after": after.model_dump(mode="json"),
            }
        )


def next_name(stem: str) -> str:
    """Return the name of a bundle's refit: ``part-refit`` of ``part``, ``part-refit-2`` of that, and so on."""
    again = _REFIT.fullmatch(stem)
    return f"{again[1]}-refit-{int(again[2] or 1) + 1}" if again else f"{stem}-refit"
