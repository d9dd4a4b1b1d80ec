"""``edge-occ evaluate``: a labelled set through the exported graph."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.cli.engine import load
from edge_occ.cli.options import BundleFile, EngineName, Json, Precision, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.signals import ending_at_once
from trainer.cli.extras import require_extra


def evaluate(
    bundle: BundleFile,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="MVTec layout: test/good, test/KIND, ground_truth/KIND/NAME_mask.png."),
    ],
    engine: EngineName = "auto",
    precision: Precision = "auto",
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for an HTML page with pictures.")] = None,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Score a labelled set through the exported graph, as the device would.

    For instance: `edge-occ evaluate part.occ --data mvtec_ad/bottle --report report`
    """
    # The figures need the base install alone; the page needs the packages that draw it.
    for module in ("jinja2", "matplotlib", "scipy") if report else ():
        require_extra(module, "evaluate")
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
