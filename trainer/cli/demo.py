"""``edge-occ demo``: training and inspection once, on real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.extras import require_extra
from edge_occ.common.signals import ending_at_once


def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Folder for bundle, stream, messages and report.")] = Path(
        "demo"
    ),
    fps: Annotated[
        float, typer.Option(metavar="N", min=0.5, max=100, help="Images a second on the simulated line.")
    ] = 10,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train an encoder from scratch instead of the preset auto.")
    ] = False,
) -> None:
    """Run everything once on real solar cells: train, calibrate, inspect a stream, collect the MQTT messages, report.

    For instance: `edge-occ demo --folder demo --fps 5`
    """
    require_extra("elpv_dataset", "demo")
    with ending_at_once():
        from trainer.demo import run_demo  # noqa: PLC0415

    run_demo(folder, fps, from_scratch=from_scratch)
