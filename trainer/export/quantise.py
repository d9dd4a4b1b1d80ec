"""Static int8 quantisation by explicit Q/DQ nodes, which TensorRT uses directly and ONNX Runtime runs anywhere."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from engines.base import FRAME
from trainer.export.half import ENCODER
from trainer.export.onnx_graph import modules_of

_QUANTISED = ("Conv", "Add")
"""Quantised operators: convolutions, and both inputs of the residual sums, so that TensorRT stays in int8 there."""


def quantise(
    fp16: bytes, frames: Iterable[NDArray[np.uint8]], head: Mapping[str, NDArray[np.float32]], kept: int = 1
) -> bytes:
    """Quantise the encoders of a graph whose encoders are fp16.

    All is symmetric int8, weights per output channel, biases in fp16, as TensorRT's explicit quantisation requires.
    Ranges are the minimum and maximum of the activations, averaged over the frames, so that a single unusual frame has
    little influence.

    Args:
        fp16: the ONNX graph.
        frames: good parts, uint8 BGR ``[h, w, 3]``.
        head: the graph's other inputs.
        kept: number of first convolutions of each encoder that stay in fp16; the rounding error of the first one
            propagates through all others.

    Returns:
        The quantised ONNX graph.
    """
    model = onnx.load_from_string(fp16)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            target,
            _Frames(frames, head),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_encoder_nodes(model, kept),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "CalibMovingAverage": True,
            },
        )
        quantised = onnx.load(target)
    onnx.checker.check_model(quantised, full_check=True)
    result: bytes = quantised.SerializeToString()
    return result


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Passes the frames one by one to the calibration."""

    def __init__(self, frames: Iterable[NDArray[np.uint8]], head: Mapping[str, NDArray[np.float32]]) -> None:
        self._frames, self._head = iter(frames), head

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        frame = next(self._frames, None)
        return None if frame is None else {FRAME: frame, **self._head}


def _encoder_nodes(model: onnx.ModelProto, kept: int) -> list[str]:
    """Return the names of the quantised nodes: in each encoder, those from convolution ``kept`` to the last one."""
    encoders: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        encoder = ENCODER.search(modules_of(node))
        if encoder and node.op_type in _QUANTISED:
            encoders.setdefault(encoder.group(), []).append(node)
    names = []
    for nodes in encoders.values():
        places = [i for i, node in enumerate(nodes) if node.op_type == "Conv"]
        if len(places) > kept:
            names += [node.name for node in nodes[places[kept] : places[-1] + 1]]
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the root logger, on which the quantiser recommends a preprocessing that this graph does not need."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
