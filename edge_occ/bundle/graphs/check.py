"""Checks of the two kinds of graphs in a bundle, with limits on the memory and the work that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge_occ.bundle.graphs.model import OnnxModel, read_model
from edge_occ.bundle.graphs.shapes import cost_of
from edge_occ.bundle.graphs.values import Shape
from edge_occ.bundle.graphs.wire import Malformed
from edge_occ.common.size import Size
from engines.base import FEATURES, FRAME, IMAGES, MAP, SCORE, of_head

SMALLEST_FRAME, LARGEST_FRAME = (2, 2), (4096, 4096)
"""Frame sizes, in addition to the given ones, for which the cost of a graph is computed: the one that engines are tried
with, and one of 16 megapixels."""

MAX_VALUES = 1 << 28
"""Largest number of values in memory at a time, without those of inputs and constants: 1 GiB in fp32.  Graphs that the
trainer exports need 0.1e9 to resize 16 megapixels."""

MAX_WORK = 1 << 41
"""Largest number of multiplications, or of operations that take as long: some minutes of one processor core.  Graphs
that the trainer exports need 0.1e12 for 16 megapixels, and up to 1e12 with images of 2048 pixels."""

MAX_VALUES_PER_WINDOW = 1 << 20
"""Largest number of values in memory for each window of a batch, which has a window for each position of the grid.
Encoders that the trainer exports need 0.03e6 with 32 channels."""

_FLOAT, _UINT8 = 1, 2


def check_inspection_graph(
    onnx: bytes, head: Mapping[str, Shape], frames: Iterable[Size], size: Size
) -> tuple[Shape, ...]:
    """Check a graph from the frame to score and map.

    Args:
        onnx: the serialised model.
        head: shapes of the head's tensors.
        frames: heights and widths of frames that it will certainly be run on.
        size: height and width of the score map.

    Returns:
        Shapes of the branches' features, ``[rows, columns, d]`` each.

    Raises:
        Malformed: it is not such a graph, does not fit the head, or exceeds a limit.
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
        window: side in pixels of an image that has one position; a batch may have as many as the grid has positions.
        size: height and width in pixels of an image that has all positions.
        features: shape of the features of all positions, ``[rows, columns, d]``.

    Raises:
        Malformed: it is not such a graph, or exceeds a limit.
    """
    model = read_model(onnx)
    _require_inputs(model, {IMAGES: (_UINT8, (None, None, None, 3))})
    windows = features[0] * features[1]
    for images, given, wanted in ((1, size, features), (windows, (window, window), (1, 1, *features[2:]))):
        limit = max(MAX_VALUES, images * MAX_VALUES_PER_WINDOW)
        shapes = _affordable(model, {IMAGES: (images, *given, 3)}, limit)
        _require_outputs(model, shapes, {FEATURES: (images, *wanted)})


def _require_inputs(model: OnnxModel, wanted: Mapping[str, tuple[int, tuple[int | None, ...]]]) -> None:
    found = {name: (tensor.elem_type, tensor.shape) for name, tensor in model.inputs.items()}
    if found != wanted:
        raise Malformed(f"inputs {_listed(found)}, not {_listed(wanted)}")


def _listed(inputs: Mapping[str, tuple[int, tuple[int | None, ...]]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, (_, shape) in inputs.items())


def _affordable(model: OnnxModel, inputs: Mapping[str, Shape], limit: int = MAX_VALUES) -> Mapping[str, Shape]:
    cost = cost_of(model, inputs)
    if cost.peak > limit + cost.inputs or cost.work > MAX_WORK:
        raise Malformed(f"{cost.peak:.1e} values at a time and {cost.work:.1e} operations")
    return cost.shapes


def _require_outputs(model: OnnxModel, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    found = [(name, shapes.get(name)) for name in model.outputs]
    if found != list(wanted.items()):
        raise Malformed(f"outputs {found}, not {list(wanted.items())}")
