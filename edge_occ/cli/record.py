"""``edge-occ record``: training pictures from the source that will inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.options import Config, Settings
from edge_occ.common.console import say
from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from edge_occ.common.signals import interruptible
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.recording import PictureRecorder
from edge_occ.sources.opening import open_source


def record(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures; nothing in it is overwritten.")],
    camera: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of a camera: /dev/videoN.")] = None,
    source: Annotated[str | None, typer.Option(metavar="URI", help="The same as for run, with its options.")] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many pictures.")] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Seconds between pictures at least.")] = 0.0,
    config: Config = None,
    settings: Settings = None,
) -> None:
    """Take training pictures through the source that will inspect, as PNG files without loss.

    Frames that show no part are refused: black, white or of one colour, or the same frame again and again. Without
    --frames it ends with the source, or with Ctrl-C. --config takes the file that the inspector runs with.

    For instance: `edge-occ record --camera 0 --out parts --frames 200 --every 1`
    """
    if (camera is None) == (source is None):
        raise InputError("one of --camera and --source", "both" if source else "neither", "for instance --camera 0")
    options = load_settings(RunConfig, [config] if config else [], settings or [])
    address = source if source is not None else str(camera)
    stream = open_source(address, options.source.patience(), triggered=options.source.triggered)
    recorder = PictureRecorder(out, every, options.guards, say)
    with stream, interruptible(stream.close) as interrupted:
        try:
            recorder.run(stream, frames)
        finally:
            done = recorder.recording
            refused = ", ".join(f"{count} {reason}" for reason, count in done.refused.items()) or "none"
            say(f"{done.pictures} pictures in {out}; frames refused: {refused}; {stream.dropped} dropped")
    if interrupted.is_set():
        raise KeyboardInterrupt
    say(f"next: edge-occ train --data {out}")
