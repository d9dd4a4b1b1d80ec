"""The preview picture of a bundle."""

from __future__ import annotations

from edge_occ.bundle.manifest import Calibration
from engines.base import Engine
from engines.parity import Golden
from trainer.evaluation.pictures import picture_row, scored_pair


def preview(engine: Engine, golden: Golden, calibration: Calibration) -> bytes:
    """JPEG: a good golden frame, its heatmap, a pasted golden frame, its heatmap; one row, at most 320 pixels high.

    Args:
        engine: scores the frames.
        golden: normal frames in its first half, pasted ones in its second.
        calibration: where the heatmaps begin, and the threshold.
    """
    normal, pasted = golden.frames[0], golden.frames[len(golden.frames) // 2]
    pairs = [scored_pair(frame, engine.infer(frame).map, calibration) for frame in (normal, pasted)]
    return picture_row([picture for pair in pairs for picture in pair])
