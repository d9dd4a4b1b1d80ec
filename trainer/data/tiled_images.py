"""Normal images that are cut into tiles."""

from __future__ import annotations

import logging
from dataclasses import replace

from edge_occ.common.errors import InputError
from edge_occ.common.size import size_in_words
from trainer.config import TrainConfig
from trainer.data.images import NormalImages

logger = logging.getLogger(__name__)


def tiled_images(data: NormalImages, config: TrainConfig) -> NormalImages:
    """Return the images with the tiles that the settings give.

    Parts are not turned, as a tile need not show a whole one, and no region is looked for, as tiles share one map.

    Args:
        data: checked images.
        config: settings with tiles.

    Raises:
        InputError: the images are too small for the tiles, or differ in size.
    """
    size = config.resized(data.traits.usual)
    tiling = config.input.tiling(size)
    if tiling is None:
        raise ValueError("settings without tiles")
    if data.frame is None:
        raise InputError(
            "training images of one size for input.tiles", "different sizes", "resize them, or leave input.tiles out"
        )
    whole = tiling.map_size
    if any(side > pixels for side, pixels in zip(whole, data.frame, strict=True)):
        raise InputError(
            f"images of at least {size_in_words(whole)} pixels for {tiling.columns} x {tiling.rows} tiles of "
            f"{size_in_words(size)}",
            f"{size_in_words(data.frame)}",
            "use fewer tiles, or a smaller input.size",
        )
    for section, mode in (("pose", config.pose.mode), ("region", config.region.mode)):
        if mode == "auto":
            logger.info("%s.mode=auto looks for nothing with input.tiles", section)
    if config.export.features:
        logger.info("features of tiles are not kept: there will be no review and no refit of this bundle")
    return replace(data, tiles=config.input.tiles)
