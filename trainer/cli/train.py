"""``edge-occ train``: a bundle from pictures of good parts."""

from __future__ import annotations

import shlex
import sys
from glob import has_magic
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.guarantee import guarantee
from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import Device, Json, Settings
from edge_occ.common.console import print_json, say
from edge_occ.common.printable import printable
from edge_occ.common.settings import load_settings, preset
from edge_occ.common.signals import ending_at_once
from edge_occ.common.size import size_in_words


def train(  # noqa: PLR0913 - one parameter an option
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="MVTec layout (train/good, test/..., ground_truth/...) or a folder of good parts."
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file of settings, on top of the preset.")
    ] = None,
    preset_name: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="Name of a file in configs/presets.")
    ] = "quick",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The bundle; default: the data folder's name with .occ.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**31 - 1, help="The same seed gives the same bundle.")
    ] = 0,
    device: Device = "auto",
    settings: Settings = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Good parts of another session, from which the threshold is calibrated."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the checkpoint of an interrupted run.")] = False,
    json: Json = False,
) -> None:
    """Learn from pictures of good parts; write one bundle and a report.

    Ctrl-C, or a power cut, costs half a minute at most: the same command goes on from the checkpoint.

    For instance: `edge-occ train --data pictures/good --preset imagenet --out part.occ`
    """
    require_extra("torch", "train")
    with ending_at_once():
        from trainer.config import TrainConfig  # noqa: PLC0415
        from trainer.job import Job  # noqa: PLC0415
        from trainer.report.heads import candidate_in_words  # noqa: PLC0415
        from trainer.report.model_selection import of_synthetic  # noqa: PLC0415
        from trainer.report.training_set import doubts, training_set  # noqa: PLC0415
        from trainer.train import train as run_job  # noqa: PLC0415

    files = [preset(preset_name), *([config] if config else [])]
    # The data may be a pattern such as pictures/*.png, which gives the bundle the name of its folder.
    named = next(part for part in (data.resolve(), *data.resolve().parents) if not has_magic(part.name))
    target = out or Path(f"{named.name}.occ")
    command = printable(shlex.join(["edge-occ", *sys.argv[1:]]))
    options = load_settings(TrainConfig, files, settings or [])
    trained = run_job(Job(data, target, options, preset_name, seed, device, command, restart, calibration))
    manifest = trained.manifest
    for skipped in manifest.training.skipped:
        say(f"skipped {skipped}")
    say(training_set(manifest.training))
    for doubt in doubts(manifest.training):
        say(doubt)
    if manifest.training.conversions:
        say(f"converted to 8-bit colour: pictures that were {', '.join(manifest.training.conversions)}")
    if manifest.training.white:
        say(f"16-bit values from {manifest.training.white} on are white, at the line too: the pictures have none above")
    if manifest.geometry.frame is None:
        say(f"the pictures differ in size; each was stretched to {size_in_words(manifest.geometry.size)}")
    if manifest.model_selection:
        choice = manifest.model_selection
        say(f"selected by synthetic defects on held-out good parts: finds {of_synthetic(choice)}")
        for head in (c for c in choice.candidates if c.score_weight or c.map_weight):
            weights = f"{head.score_weight:.2f} of the score, {head.map_weight:.2f} of the heatmap"
            say(f"- {candidate_in_words(head)}: {weights}")
    say(guarantee(manifest.calibration))
    say(_oddness(trained.odd, manifest.training.images, target, options.keeps_features))
    say(f"{target} written in {manifest.training.seconds:.0f} s; report: {trained.report}")
    say(f"next: edge-occ run --bundle {target} --camera 0")
    if json:
        summary = manifest.model_dump(mode="json", by_alias=True, exclude={"members"})
        paths = {"bundle": printable(target), "report": printable(trained.report)}
        print_json({**paths, "odd_images": trained.odd, **summary})


def _oddness(odd: int, of: int, bundle: Path, features: bool) -> str:
    looks = {0: "no good image looks odd", 1: f"1 of {of} good images looks odd"}.get(
        odd, f"{odd} of {of} good images look odd"
    )
    if not features:
        return f"{looks}; features were not kept, so there is no review"
    why = ": a defect among them would raise the threshold" if odd else ""
    return f"{looks}{why}; to see the oddest: edge-occ review {shlex.quote(str(bundle))}"
