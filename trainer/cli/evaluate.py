"""``edge-occ evaluate``: a labelled set through the exported graph."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.guarantee import guarantee
from edge_occ.cli.engine import load
from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import BundleFile, EngineName, Json, Precision, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.signals import ending_at_once


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
        from trainer.evaluation.detection import table_lines  # noqa: PLC0415
        from trainer.evaluation.evaluate import evaluate as run_evaluation  # noqa: PLC0415
        from trainer.own_files import require_own_page  # noqa: PLC0415

    if report:
        require_own_page(report / "index.html", "--report")
    evaluation = run_evaluation(bundle, data, partial(load, name=engine, precision=precision), sha256)
    if report:
        from trainer.report.evaluation import evaluation_report  # noqa: PLC0415

        page = evaluation_report(report, evaluation)
        say(f"report: {page}")
    for warning in (*(f"skipped {line}" for line in evaluation.skipped), *evaluation.warnings):
        say(warning)
    content = evaluation.as_json()
    if json:
        print_json(content)
        return
    for line in table_lines(evaluation.detection):
        say(line)
    figures = {"auroc_held_out": evaluation.scores.auroc_held_out, **content}
    for key in ("auroc_held_out", "image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max"):
        say(f"{key:<14} {'-' if figures[key] is None else format(figures[key], '.4f')}")
    say(guarantee(evaluation.calibration))
