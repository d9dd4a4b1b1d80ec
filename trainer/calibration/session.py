"""A threshold from the images of another session than the training's: another day, another lamp, another batch.

Images of one session are more alike than those of two, so a threshold from held-out images of the training's session
raises more false alarms in the next one than it guarantees.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import numpy as np

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.pose import NoPose
from edge_occ.bundle.recalibration import NewFrames, recalibrate, require_frames
from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import size_in_words
from edge_occ.output.preview import preview
from trainer.data.images import NormalImages, find_normal_images


def find_session(folder: Path, data: NormalImages, rate: float) -> NormalImages:
    """Find and check the images of another session, before the training.

    Args:
        folder: of them, as for ``--data``.
        data: the training images.
        rate: false-alarm rate that the bundle will declare.

    Raises:
        InputError: as :func:`~trainer.data.images.find_normal_images`; too few images, another size, or images that are
            among the training images.
    """
    session = find_normal_images(folder)
    require_frames(len(set(session.parts)), rate, fits=False)
    if data.frame is not None and session.frame != data.frame:
        found = "images of different sizes" if session.frame is None else size_in_words(session.frame)
        raise InputError(
            f"calibration images of {size_in_words(data.frame)} pixels, as those of the training",
            found,
            "take them with the same camera settings",
        )
    common = set(session.digests) & set(data.digests)
    if common:
        raise InputError(
            "calibration images that the training does not see",
            f"{len(common)} that are in both folders",
            "use another folder with --calibration, or leave it out: then held-out training images calibrate",
        )
    return session


def calibrated_on(bundle: Bundle, session: NormalImages) -> Bundle:
    """Return the bundle with a threshold from the images of another session.

    One image of each part is scored, as on a device; the guards know the brightness of both sessions afterwards.

    Raises:
        InputError: too few images have a score, or the threshold does not hold for those that are held out.
        ParityFailure: this machine does not compute what the trainer did.
    """
    training, scores, without_pose = bundle.manifest.training, [], 0
    firsts = [path for i, path in enumerate(session.paths) if session.parts[i] not in session.parts[:i]]
    progress = ProgressReport("scoring the other session", len(firsts))
    with closing(load_engine(bundle, "cpu", "fp32").engine) as engine, progress:
        for image in firsts:
            progress.advance()
            try:
                scores.append(engine.infer(read_image(image, training.white_level)).score)
            except NoPose:
                without_pose += 1
    exposure = session.traits.exposure
    frames = NewFrames(
        features=(),
        scores=np.array(scores),
        tiles=1,
        exposure=exposure if training.exposure is None else training.exposure.joined(exposure),
        colour=training.colour if training.colour == session.traits.colour else None,
        left_out={"without a pose": without_pose} if without_pose else {},
    )
    before = hashlib.sha256(bundle.manifest.model_dump_json().encode()).hexdigest()
    return recalibrate(bundle, frames, None, before, preview).bundle
