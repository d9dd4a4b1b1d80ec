"""``edge-occ score``: picture files through a bundle."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.conformal import Verdict
from edge_occ.cli.engine import load
from edge_occ.cli.options import BundleFile, EngineName, JsonLines, Precision, Sha256
from edge_occ.common.console import print_json, print_line, say
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.scoring import FaultTally, score_frame
from edge_occ.sources.faults import Unscored, read_picture


def score(
    bundle: BundleFile,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Picture files, or folders of them.")],
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Sha256 = None,
    json: JsonLines = False,
) -> None:
    """Score picture files or folders, one line each.

    A picture that cannot be scored gets a line that says why, the others are scored, and the exit status is 2.

    For instance: `edge-occ score part.occ pictures/ --json`
    """
    opened = read_bundle(bundle, sha256)
    files, missing = _find(paths)
    if not files:
        raise missing[0]
    for error in missing:
        say(f"fault  {error}")
    threshold, tally, likeness = opened.conformal_threshold(), FaultTally(), Likeness(opened.manifest, say)
    with closing(load(opened, engine, precision).engine) as running:
        for path in files:
            try:
                image = read_picture(path, opened.manifest.training.white_level)
                scores = score_frame(running, image)
            except Unscored as error:  # noqa: PERF203 - the others must still be scored
                _show_fault(path, error, json=json)
                tally.add(error)
            else:
                tally.scored()
                likeness.look(image)
                _show_verdict(path, threshold.verdict(scores.score), json=json)
    failed = sum(tally.counts.values())
    if failed or missing:
        found = [f"{failed} of {len(files)} pictures that cannot be scored"] if failed else []
        found += [f"{len(missing)} of {len(paths)} paths without pictures"] if missing else []
        raise InputError("pictures that can be scored, in every path", " and ".join(found), "see above for each")


def _find(paths: list[Path]) -> tuple[list[Path], list[InputError]]:
    """Return the pictures of all paths, and an error for each path that has none."""
    files, missing = [], []
    for path in paths:
        try:
            files += find_images(path)
        except InputError as error:  # noqa: PERF203 - the others must still be scored
            missing.append(error)
    return files, missing


def _show_verdict(path: Path, verdict: Verdict, *, json: bool) -> None:
    name = "anomalous" if verdict.anomalous else "normal"
    if not json:
        print_line(f"{name:<9}  score {verdict.score:10.2f}  p {verdict.p_value:.4f}  {path}")
        return
    print_json(
        {
            "path": str(path),
            "score": verdict.score,
            "p_value": verdict.p_value,
            "threshold": verdict.threshold,
            "verdict": name,
        }
    )


def _show_fault(path: Path, fault: Unscored, *, json: bool) -> None:
    if json:
        print_json({"path": str(path), "verdict": "fault", "reason": fault.reason.value, "detail": fault.detail})
    else:
        text = fault.detail if fault.error is None else str(fault.error)
        say(f"fault      {fault.reason.value}: {text}  {path}")
