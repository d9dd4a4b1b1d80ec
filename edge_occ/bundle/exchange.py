"""A bundle's head exchanged: the same graphs with another head, and golden scores and preview that follow from it.

Each graph first passes the parity gate with the old head, which shows that this machine computes what the trainer did.
With the new head, the reference of the golden frames is computed outside the runtime, from the graph's own features,
and every precision has to reproduce it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import GOLDEN, HEAD, PREVIEW, Bundle, graph_name, reference_name
from edge_occ.bundle.fit_heads import FittedHeads
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.pre_stage import PreStageEngine
from edge_occ.bundle.provenance import Precision
from edge_occ.bundle.tensors import golden_member, head_member, reference_member
from edge_occ.common.errors import EngineUnavailable, ParityFailure
from engines.base import Engine
from engines.parity import Golden, Parity, require_parity

Reference = Callable[[Engine, Sequence[NDArray[np.uint8]]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From an engine with the new head, and golden frames as the graph gets them, to scores ``[n]`` and maps ``[n, rows,
columns]``."""

Preview = Callable[[Engine, Golden, Calibration], bytes]
"""From an engine, golden frames and the calibration to a JPEG of a normal and a pasted frame with their heatmaps."""

_ENGINE = "cpu"


@dataclass(frozen=True)
class Exchanged:
    """The content of a bundle with another head.

    Attributes:
        members: all members but the model card.
        precisions: record of each precision below fp32; one that failed is not included any more.
        tolerances: tolerance of the parity gate for each precision that is left.
        parity: the fp32 graph with the new head, compared with the reference.
        left_out: a sentence for each precision that failed.
    """

    members: Mapping[str, bytes]
    precisions: Mapping[str, Precision]
    tolerances: Mapping[str, float]
    parity: Parity
    left_out: Sequence[str]


def exchange_head(bundle: Bundle, fitted: FittedHeads, reference: Reference, preview: Preview) -> Exchanged:
    """Return the content of a bundle with another head.

    Args:
        bundle: with the old head.
        fitted: the new one.
        reference: computes golden scores and maps.
        preview: makes the picture.

    Raises:
        GraphRefused: the new head does not fit the graph.
        ParityFailure: fp32 fails with the old head or with the new one.
    """
    members = {**bundle.members, HEAD: head_member(fitted.head, fitted.held_out)}
    with closing(_engine(bundle, fitted, "fp32")) as engine:
        old = bundle.golden()
        results = reference(engine, prepared(bundle, old).frames)
        golden = Golden(old.frames, *results, fitted.calibration.threshold)
        parity = require_parity(engine, prepared(bundle, golden), bundle.tolerance("fp32"))
        members[GOLDEN] = golden_member(golden)
        members[PREVIEW] = preview(_for_golden_frames(bundle, engine), golden, fitted.calibration)
    precisions, left_out = dict(bundle.manifest.precisions), []
    for precision in bundle.precisions[1:]:
        reason, changed = _reduced(bundle, fitted, precision, golden)
        if reason is None:
            members |= changed
            continue
        for name in (graph_name(precision), reference_name(precision)):
            members.pop(name, None)
        update = {"included": False, "reason": reason}
        precisions[precision] = precisions[precision].model_copy(update=update)
        left_out.append(f"{precision} is left out of the new bundle: {reason}")
    tolerances = {p: of for p, of in bundle.manifest.parity_tolerance.items() if graph_name(p) in members}
    return Exchanged(members, precisions, tolerances, parity, left_out)


def graph_engine(bundle: Bundle, precision: str = "fp32") -> Engine:
    """Return an engine for frames that have passed the stage before the graph; see :func:`prepared`.

    Raises:
        ParityFailure, EngineUnavailable: see :func:`edge_occ.bundle.loading.load_engine`.
    """
    return load_engine(bundle, _ENGINE, precision).of_graph


def prepared(bundle: Bundle, golden: Golden) -> Golden:
    """Return golden frames as the graph gets them."""
    stage = bundle.manifest.geometry.pre_stage
    return golden if stage is None else stage.golden(golden)


def _engine(bundle: Bundle, fitted: FittedHeads, precision: str) -> Engine:
    """Return an engine that has passed the gate with the old head, and has the new one."""
    engine = graph_engine(bundle, precision)
    try:
        engine.set_head(fitted.head)
    except BaseException:
        engine.close()
        raise
    return engine


def _for_golden_frames(bundle: Bundle, engine: Engine) -> Engine:
    """Return the engine for golden frames as they are stored: they are tiles where frames are cut into tiles."""
    stage = bundle.manifest.geometry.pre_stage
    return engine if stage is None else PreStageEngine(engine, replace(stage, tiling=None))


def _reduced(
    bundle: Bundle, fitted: FittedHeads, precision: str, golden: Golden
) -> tuple[str | None, dict[str, bytes]]:
    """Return why a precision below fp32 fails, or None, and the members of it that change: int8 has a reference of its
    own, other graphs are compared with fp32's.
    """
    own = reference_name(precision)
    try:
        with closing(_engine(bundle, fitted, precision)) as engine:
            if own not in bundle.members:
                require_parity(engine, prepared(bundle, golden), bundle.tolerance(precision))
                return None, {}
            found = [engine.infer(frame) for frame in prepared(bundle, golden).frames]
    except (ParityFailure, EngineUnavailable) as failure:
        return failure.found, {}
    scores, maps = np.array([of.score for of in found], np.float32), np.stack([of.map for of in found])
    return None, {own: reference_member(replace(golden, scores=scores, maps=maps))}
