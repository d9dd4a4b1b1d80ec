"""Preview picture of a bundle."""

from __future__ import annotations

from edge_occ.bundle.manifest import Calibration
from engines.base import Engine
from engines.parity import Golden
from trainer.evaluation.pictures import picture_row, scored_pair


def preview(engine: Engine, golden: Golden, calibration: Calibration) -> bytes:
    """Return a JPEG of a normal and a pasted golden frame, each with its heatmap, in a row 320 pixels high or less.

    Args:
        engine: scores the frames.
        golden: normal frames in its first half, pasted ones in its second.
        calibration: median score, where the colours begin, and threshold.
    """
    normal, pasted = golden.frames[0], golden.frames[len(golden.frames) // 2]
    pairs = [scored_pair(frame, engine.infer(frame).map, calibration) for frame in (normal, pasted)]
    return picture_row([picture for pair in pairs for picture in pair])
