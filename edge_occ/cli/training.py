"""Commands of the workstation; each imports the trainer, and what of it needs torch, only when called."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.cli.bundles import BundleFile, Digest, EngineName, Precision, Settings, load
from edge_occ.cli.console import print_json, say
from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings, preset
from edge_occ.common.signals import ending_at_once

Data = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="MVTec layout (train/good, test/..., ground_truth/...) or a folder of good parts."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def train(  # noqa: PLR0913 - one parameter an option
    data: Data,
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
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    settings: Settings = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the checkpoint of an interrupted run.")] = False,
    json: Json = False,
) -> None:
    """Learn from pictures of good parts; write one bundle and a report.

    Ctrl-C, or a power cut, costs half a minute at most: the same command goes on from the checkpoint.

    For instance: `edge-occ train --data pictures/good --preset imagenet --out part.occ`
    """
    _need("torch", "train")
    with ending_at_once():
        from trainer.config import TrainConfig  # noqa: PLC0415
        from trainer.data.names import printable  # noqa: PLC0415
        from trainer.report.training_set import doubts, training_set  # noqa: PLC0415
        from trainer.train import Job  # noqa: PLC0415
        from trainer.train import train as run_job  # noqa: PLC0415

    files = [preset(preset_name), *([config] if config else [])]
    # Of a pattern, the folder before it.
    named = next(part for part in (data.resolve(), *data.resolve().parents) if not has_magic(part.name))
    target = out or Path(f"{named.name}.occ")
    command = printable(shlex.join(["edge-occ", *sys.argv[1:]]))
    options = load_settings(TrainConfig, files, settings or [])
    trained = run_job(Job(data, target, options, preset_name, seed, device, command, restart))
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
        say("the pictures differ in size; each was stretched to a square")
    if manifest.model_selection:
        taken = [c for c in manifest.model_selection.candidates if c.score_weight or c.map_weight]
        say("chosen by synthetic defects on held-out good parts (the report says why):")
        for head in taken:
            weights = f"{head.score_weight:.2f} of the score, {head.map_weight:.2f} of the heatmap"
            say(f"- {head.encoder} {head.scope}: {weights}")
    say(guarantee(manifest.calibration))
    say(f"{target} written in {manifest.training.seconds:.0f} s; report: {trained.report}")
    say(f"next: edge-occ run --bundle {target} --camera 0")
    if json:
        summary = manifest.model_dump(mode="json", by_alias=True, exclude={"members"})
        print_json({"bundle": printable(target), "report": printable(trained.report), **summary})


def evaluate(
    bundle: BundleFile,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="MVTec layout: test/good, test/KIND, ground_truth/KIND/NAME_mask.png."),
    ],
    engine: EngineName = "auto",
    precision: Precision = "auto",
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for an HTML page with pictures.")] = None,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Score a labelled set through the exported graph, as the device would.

    For instance: `edge-occ evaluate part.occ --data mvtec_ad/bottle --report report`
    """
    # The figures need the base install alone, the page what draws it.
    for module in ("jinja2", "matplotlib", "scipy") if report else ():
        _need(module, "evaluate")
    with ending_at_once():
        from trainer.evaluation.evaluate import evaluate as run_evaluation  # noqa: PLC0415
        from trainer.own_files import require_own_page  # noqa: PLC0415

    if report:
        require_own_page(report / "index.html", "--report")
    evaluation = run_evaluation(bundle, data, partial(load, name=engine, precision=precision), sha256)
    if report:
        from trainer.report.evaluation import evaluation_report  # noqa: PLC0415

        opened = read_bundle(bundle, sha256)
        page = evaluation_report(report, opened.manifest, evaluation, opened.held_out)
        say(f"report: {page}")
    for warning in (*(f"skipped {line}" for line in evaluation.skipped), *evaluation.warnings):
        say(warning)
    content = evaluation.as_json()
    if json:
        print_json(content)
        return
    for key in ("image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max"):
        say(f"{key:<12} {'-' if content[key] is None else format(content[key], '.4f')}")
    if evaluation.good:
        say(f"false alarms {evaluation.false_alarms} of {len(evaluation.good)} good parts")
    say(guarantee(evaluation.calibration))


def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where bundle, stream, messages and report go.")] = Path(
        "demo"
    ),
    fps: Annotated[
        float, typer.Option(metavar="N", min=0.5, max=100, help="Pictures a second on the simulated line.")
    ] = 10,
) -> None:
    """Do the whole job on real solar cells: train, calibrate, inspect a stream, collect the MQTT messages, report.

    For instance: `edge-occ demo --folder demo --fps 5`
    """
    _need("elpv_dataset", "demo")
    with ending_at_once():
        from trainer.demo import run_demo  # noqa: PLC0415

    run_demo(folder, fps)


def _need(module: str, extra: str) -> None:
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec(module) is None:
        raise InputError(
            f"the packages of the extra [{extra}]", f"no {module}", f"install them: pip install 'edge-occ[{extra}]'"
        )
