"""Commands of the workstation; each imports the trainer, and with it torch, only when called."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle import read_bundle
from edge_occ.cli.bundles import EngineName, Precision, load
from edge_occ.cli.console import print_json, say
from edge_occ.errors import InputError
from edge_occ.interrupt import ending_at_once
from edge_occ.promise import promise
from edge_occ.settings import load_settings, preset

Data = Annotated[
    Path, typer.Option(help="MVTec layout (train/good, test/..., ground_truth/...) or a folder of good parts.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def train(  # noqa: PLR0913 - one parameter an option
    data: Data,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, on top of the preset.")] = None,
    preset_name: Annotated[str, typer.Option("--preset", help="Name of a file in configs/presets.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="The bundle; default: the data folder's name with .occ.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The same seed gives the same bundle.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: section.field=value.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the checkpoint of an interrupted run.")] = False,
    json: Json = False,
) -> None:
    """Learn from pictures of good parts; write one bundle and a report.

    Ctrl-C, or a power cut, costs half a minute at most: the same command goes on from the checkpoint.
    """
    _need("torch", "train")
    with ending_at_once():
        from trainer.config import TrainConfig  # noqa: PLC0415
        from trainer.train import Job  # noqa: PLC0415
        from trainer.train import train as run_job  # noqa: PLC0415

    files = [preset(preset_name), *([config] if config else [])]
    target = out or Path(f"{data.resolve().name}.occ")
    command = shlex.join(["edge-occ", *sys.argv[1:]])
    options = load_settings(TrainConfig, files, settings or [])
    trained = run_job(Job(data, target, options, preset_name, seed, device, command, restart))
    manifest = trained.manifest
    for skipped in manifest.training.skipped:
        say(f"skipped {skipped}")
    if manifest.training.conversions:
        say(f"converted to 8-bit colour: pictures that were {', '.join(manifest.training.conversions)}")
    if manifest.geometry.frame is None:
        say("the pictures differ in size; each was stretched to a square")
    if manifest.choice:
        taken = [c for c in manifest.choice.candidates if c.score_weight or c.map_weight]
        say("chosen by synthetic defects on held-out good parts (the report says why):")
        for head in taken:
            weights = f"{head.score_weight:.2f} of the score, {head.map_weight:.2f} of the heatmap"
            say(f"- {head.encoder} {head.scope}: {weights}")
    say(promise(manifest.calibration))
    say(f"{target} written in {manifest.training.seconds:.0f} s; report: {trained.report}")
    say(f"next: edge-occ run --bundle {target} --camera 0")
    if json:
        summary = manifest.model_dump(mode="json", exclude={"members"})
        print_json({"bundle": str(target), "report": str(trained.report), **summary})


def evaluate(
    bundle: Path,
    data: Data,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML page with pictures.")] = None,
    json: Json = False,
) -> None:
    """Score a labelled set through the exported graph, as the device would."""
    _need("sklearn", "train")
    with ending_at_once():
        from trainer.evaluate import evaluate as run_evaluation  # noqa: PLC0415

    evaluation = run_evaluation(bundle, data, partial(load, name=engine, precision=precision))
    if report:
        from trainer.report.evaluation import evaluation_report  # noqa: PLC0415

        opened = read_bundle(bundle)
        page = evaluation_report(report, opened.manifest, evaluation, opened.held_out)
        say(f"report: {page}")
    content = evaluation.as_json()
    if json:
        print_json(content)
        return
    for key in ("image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max"):
        say(f"{key:<12} {'-' if content[key] is None else format(content[key], '.4f')}")
    say(f"false alarms {evaluation.false_alarms} of {len(evaluation.good)} good parts")
    say(promise(evaluation.calibration))


def demo(
    folder: Annotated[Path, typer.Option(help="Where bundle, stream, messages and report go.")] = Path("demo"),
    fps: Annotated[float, typer.Option(min=0.5, max=100, help="Pictures a second on the simulated line.")] = 10,
) -> None:
    """Do the whole job on real solar cells: train, calibrate, inspect a stream, collect the MQTT messages, report."""
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
