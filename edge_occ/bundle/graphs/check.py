"""The two kinds of graphs in a bundle, and how much of a machine each may take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge_occ.bundle.graphs.model import Model, read_model
from edge_occ.bundle.graphs.shapes import cost_of
from edge_occ.bundle.graphs.values import Shape
from edge_occ.bundle.graphs.wire import Malformed
from edge_occ.common.size import Size
from engines.base import FEATURES, FRAME, IMAGES, MAP, SCORE, of_head

SMALLEST_FRAME, LARGEST_FRAME = (2, 2), (4096, 4096)
"""Frames that a graph is followed with, besides those that are known: the one that engines are tried with, and one of
16 megapixels."""

MAX_VALUES = 1 << 28
"""Values that may be needed at a time, and as many again as the inputs and constants have: 1 GiB in fp32.  Ours need
0.1e9 to resize 16 megapixels."""

MAX_WORK = 1 << 41
"""Multiplications, and what takes as long: some minutes of one processor core.  Ours take 0.1e12 for 16 megapixels, and
up to 1e12 with images of 2048 pixels."""

MAX_VALUES_PER_WINDOW = 1 << 20
"""The same for each window of a batch, which is as large as the grid.  Ours need 0.03e6 with 32 channels."""

_FLOAT, _UINT8 = 1, 2


def check_inspection_graph(
    onnx: bytes, head: Mapping[str, Shape], frames: Iterable[Size], size: Size
) -> tuple[Shape, ...]:
    """Check a graph from the frame to score and map.

    Args:
        onnx: the serialised model.
        head: shapes of the head's tensors.
        frames: heights and widths of frames that it will be run on in any case.
        size: height and width of the score map.

    Returns:
        Shapes of the branches' features, ``[rows, columns, d]`` each.

    Raises:
        Malformed: it is no such graph, does not belong to the head, or takes too much.
    """
    model = read_model(onnx)
    _require_inputs(model, {FRAME: (_UINT8, (None, None, 3)), **{name: (_FLOAT, head[name]) for name in head}})
    branches = [of_head(FEATURES, i) for i in range(len(model.outputs) - 2)]
    features: tuple[Shape, ...] = ()
    for frame in {SMALLEST_FRAME, *frames, LARGEST_FRAME}:
        shapes = _affordable(model, {FRAME: (*frame, 3), **head})
        features = tuple(shapes.get(name, ()) for name in branches)
        _require_outputs(model, shapes, {SCORE: (1,), MAP: size, **dict(zip(branches, features, strict=True))})
    return features


def check_encoder_graph(onnx: bytes, window: int, size: Size, features: Shape) -> None:
    """Check a graph from images to an encoder's features.

    Args:
        onnx: the serialised model.
        window: side of images that give one position, pixels; there may be as many as positions.
        size: height and width of an image that gives all.
        features: of these, ``[rows, columns, d]``.

    Raises:
        Malformed: it is no such graph, or takes too much.
    """
    model = read_model(onnx)
    _require_inputs(model, {IMAGES: (_UINT8, (None, None, None, 3))})
    windows = features[0] * features[1]
    for images, given, wanted in ((1, size, features), (windows, (window, window), (1, 1, *features[2:]))):
        limit = max(MAX_VALUES, images * MAX_VALUES_PER_WINDOW)
        shapes = _affordable(model, {IMAGES: (images, *given, 3)}, limit)
        _require_outputs(model, shapes, {FEATURES: (images, *wanted)})


def _require_inputs(model: Model, wanted: Mapping[str, tuple[int, tuple[int | None, ...]]]) -> None:
    found = {name: (tensor.elem_type, tensor.shape) for name, tensor in model.inputs.items()}
    if found != wanted:
        raise Malformed(f"inputs {_listed(found)} where there are {_listed(wanted)}")


def _listed(inputs: Mapping[str, tuple[int, tuple[int | None, ...]]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, (_, shape) in inputs.items())


def _affordable(model: Model, inputs: Mapping[str, Shape], limit: int = MAX_VALUES) -> Mapping[str, Shape]:
    cost = cost_of(model, inputs)
    if cost.peak > limit + cost.inputs or cost.work > MAX_WORK:
        raise Malformed(f"{cost.peak:.1e} values at a time and {cost.work:.1e} operations")
    return cost.shapes


def _require_outputs(model: Model, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    found = [(name, shapes.get(name)) for name in model.outputs]
    if found != list(wanted.items()):
        raise Malformed(f"outputs {found}, not {list(wanted.items())}")
