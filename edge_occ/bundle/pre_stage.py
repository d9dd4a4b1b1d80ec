"""The stage before the graph: parts are turned to one pose, or frames cropped or cut into tiles, and downscaled.

Training, calibration, golden frames and every engine pass it, so that all see the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.crop import Crop
from edge_occ.bundle.cut_out import Rectangle, map_in_frame
from edge_occ.bundle.downscale import downscale, downscaled_size
from edge_occ.bundle.pose import Pose, turn, turned_size
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.size import Size
from engines.base import Engine, Scores
from engines.frame import require_frame
from engines.parity import Golden


@dataclass(frozen=True)
class PreStage:
    """The stage that a frame passes before the graph.

    Attributes:
        size: height and width that the graph resizes to.
        pose: how parts are turned, centred and cut out; ``None``: the whole frame is passed on.
        tiling: cuts frames into tiles of this size, which the graph gets one by one, and which have no pose; ``None``:
            it gets one image of a frame.
        crop: the rectangle of the frame that is passed on; ``None``: all of it.

    Raises:
        ValueError: more than one of pose, tiling and crop.
    """

    size: Size
    pose: Pose | None = None
    tiling: Tiling | None = None
    crop: Crop | None = None

    def __post_init__(self) -> None:
        if [self.pose, self.tiling, self.crop].count(None) < 2:
            raise ValueError("more than one of pose, tiles and crop")

    @property
    def tiles(self) -> int:
        """Number of images that the graph gets of a frame."""
        return 1 if self.tiling is None else self.tiling.count

    @property
    def map_size(self) -> Size:
        """Height and width in resized pixels of a frame or of what is cut out of it: of all tiles together."""
        return self.size if self.tiling is None else self.tiling.map_size

    def cut(self, frame: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return the tiles of a frame, uint8 ``[h, w, 3]``, or the frame alone, as it is."""
        return [frame] if self.tiling is None else self.tiling.cut(frame)

    def prepare(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Rectangle | None]:
        """Return what the graph gets of a frame or tile, and the rectangle of it that this shows, if not the whole.

        Args:
            frame: uint8 ``[h, w, 3]``; one of :meth:`cut`.

        Raises:
            NoPose: see :meth:`edge_occ.bundle.pose.Pose.place`.
        """
        if self.crop is not None:
            return downscale(self.crop.cut(frame), self.size), self.crop.rectangle((frame.shape[0], frame.shape[1]))
        if self.pose is None:
            return downscale(frame, self.size), None
        cut, rectangle = turn(frame, self.pose, self.size)
        return downscale(cut, self.size), rectangle

    def in_frame(self, score_map: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a score map of what the graph gets of a frame as one of the whole frame; it is 0 where that is more.

        Args:
            score_map: float32 ``[rows, columns]``.
            frame: uint8 ``[h, w, 3]``.

        Raises:
            NoPose: see :meth:`edge_occ.bundle.pose.Pose.place`.
        """
        return _in_frame(score_map, self.prepare(frame)[1], frame)

    def prepared(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what the graph gets of a frame or tile; see :meth:`prepare`."""
        return self.prepare(frame)[0]

    def all_prepared(self, frame: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return all that the graph gets of a frame, :attr:`tiles` images; see :meth:`prepare`."""
        return [self.prepared(tile) for tile in self.cut(frame)]

    def prepared_size(self, frame: Size) -> Size:
        """Return the size of what the graph gets of a frame of this size, each side below twice :attr:`size`."""
        if self.pose is not None:
            return downscaled_size(turned_size(self.pose, self.size), self.size)
        part = self.tiling.tile(frame) if self.tiling else self.crop.size(frame) if self.crop else frame
        return downscaled_size(part, self.size)

    def seen(self, frame: Size) -> Size:
        """Return height and width in frame pixels of what the graph sees of a frame of this size, or of all tiles."""
        if self.pose is not None:
            return self.pose.height, self.pose.width
        return frame if self.crop is None else self.crop.size(frame)

    def golden(self, golden: Golden) -> Golden:
        """Return golden frames, or tiles, as the graph gets them, so that the parity gate covers this stage here."""
        return replace(golden, frames=[self.prepared(frame) for frame in golden.frames])


class PreStageEngine:
    """An engine whose frames pass the stage before its graph; its score maps are of the whole frame.

    Args:
        engine: scores prepared frames; closed with this one.
        stage: what is done before.
    """

    def __init__(self, engine: Engine, stage: PreStage) -> None:
        self.name, self.precision = engine.name, engine.precision
        self._engine, self._stage = engine, stage

    @property
    def of_graph(self) -> Engine:
        """The engine that scores prepared frames."""
        return self._engine

    @property
    def detail(self) -> str:
        """The runtime's version and where it computes."""
        return self._engine.detail

    @property
    def parallel(self) -> int:
        """Number of threads that may call :meth:`infer` at the same time."""
        return self._engine.parallel

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR.

        Returns:
            Image score and map.  Where something is cut out, the map is 0 outside, see
            :func:`edge_occ.bundle.cut_out.map_in_frame`; of tiles, the score is the highest, and the maps are put
            together, see :meth:`edge_occ.bundle.tiles.Tiling.stitch`.

        Raises:
            FrameRefused: see :func:`engines.frame.require_frame`.
            NoPose: see :meth:`edge_occ.bundle.pose.Pose.place`.
        """
        require_frame(frame)
        tiling = self._stage.tiling
        if tiling is not None:
            tiles = [self._engine.infer(tile) for tile in self._stage.all_prepared(frame)]
            return Scores(max(tile.score for tile in tiles), tiling.stitch([tile.map for tile in tiles]))
        prepared, rectangle = self._stage.prepare(frame)
        scores = self._engine.infer(prepared)
        return Scores(scores.score, _in_frame(scores.map, rectangle, frame))

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Features of one frame; see :meth:`engines.base.Engine.features`, and :meth:`infer` for the errors.

        Returns:
            ``[rows, columns, d]`` for each branch; of tiles, ``[tiles, rows, columns, d]``.
        """
        require_frame(frame)
        if self._stage.tiling is None:
            return self._engine.features(self._stage.prepared(frame))
        tiles = [self._engine.features(tile) for tile in self._stage.all_prepared(frame)]
        return [np.stack(of_branch) for of_branch in zip(*tiles, strict=True)]

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; see :meth:`engines.base.Engine.set_head`."""
        self._engine.set_head(head)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def _in_frame(
    score_map: NDArray[np.float32], rectangle: Rectangle | None, frame: NDArray[np.uint8]
) -> NDArray[np.float32]:
    return score_map if rectangle is None else map_in_frame(score_map, rectangle, frame.shape)
