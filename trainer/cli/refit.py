"""``edge-occ refit``: a bundle without the images that a person called defective."""

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
    exclude: Annotated[Path, typer.Option(metavar="FILE", help="review.json, saved by the page of edge-occ review.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The new bundle; default: NAME-refit.occ.")] = None,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Fit heads and threshold again without the images that a person called defective; the encoder stays.

    It takes seconds, reads no images and writes a new bundle beside the old one.

    For instance: `edge-occ refit part.occ --exclude review.json`
    """
    require_extra("torch", "train")
    with ending_at_once():
        from trainer.review.refit import refit as run_refit  # noqa: PLC0415

    target = out or bundle.with_name(f"{next_name(bundle.stem)}.occ")
    replaced = target.exists()
    done = run_refit(bundle, exclude, target, sha256)
    before, after = done.before.calibration, done.after.calibration
    say(f"taken out: {counted(len(done.excluded), 'image')} of {done.before.training.images}")
    for name in done.excluded:
        say(f"- {name}")
    say(f"threshold {before.threshold:.4g} -> {after.threshold:.4g}, from {before.n} -> {after.n} held-out parts")
    for precision in done.left_out:
        say(precision)
    say(f"{guarantee(after)} It is about parts like those that are left.")
    say(f"{target} {'replaced' if replaced else 'written'} in {done.seconds:.0f} s; {bundle} is unchanged")
    say(f"next: edge-occ run --bundle {target} --camera 0")
    if json:
        print_json(
            {
                "bundle": printable(target),
                "from": printable(bundle),
                "excluded": list(done.excluded),
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
