"""``edge-occ review``: the oddest good images of a bundle, to be judged by a person."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.engine import load
from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import BundleFile, Json, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.printable import printable
from edge_occ.common.signals import ending_at_once


def review(
    bundle: BundleFile,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder that train was given; default: where it was at the training."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The page; default: NAME.review.html.")] = None,
    images: Annotated[
        int, typer.Option(metavar="N", min=1, max=200, help="Images to show; odd ones are shown in any case.")
    ] = 20,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Show the good images that look oddest on one page, where a person marks each as good, defective or unsure.

    The page saves the marks as review.json, for edge-occ refit.

    For instance: `edge-occ review part.occ`
    """
    for module in ("jinja2", "scipy"):
        require_extra(module, "evaluate")
    with ending_at_once():
        from trainer.review.review import review as write_review  # noqa: PLC0415

    target = out or bundle.with_suffix(".review.html")
    written = write_review(bundle, data, target, images, partial(load, name="auto"), sha256)
    say(f"{written.odd} of {written.of} good images look odd; the {len(written.images)} oddest are on the page")
    say(f"open {target} in a browser, mark the images and save review.json")
    say(f"then: edge-occ refit {bundle} --exclude review.json")
    if json:
        shown = [
            {"image": name, "rank": of.rank, "score": of.score, "p_value": of.p_value, "odd": of.odd}
            for name, of in written.images
        ]
        print_json(
            {
                "page": printable(target),
                "bundle": written.identity,
                "good": written.of,
                "odd": written.odd,
                "images": shown,
            }
        )
