"""Images as the trainer computes with them; what only looks at them, in trainer/data.py, needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edge_occ.images import read_image
from edge_occ.progress import ProgressReport


def read_frames(paths: tuple[Path, ...], title: str, batch: int = 16) -> Iterator[Tensor]:
    """Read images in order, as uint8 BGR ``[n, h, w, 3]``: neighbours of one size together, at most ``batch``.

    Raises:
        InputError: an image became unreadable.
    """
    with ThreadPoolExecutor() as pool, ProgressReport(title, len(paths)) as progress:
        for start in range(0, len(paths), batch):
            chunk = list(pool.map(read_image, paths[start : start + batch]))
            for _, same in groupby(chunk, key=lambda image: image.shape):
                frames = torch.from_numpy(np.stack(list(same)))
                yield frames
                progress.advance(steps=len(frames))
