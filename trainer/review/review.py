"""The review of a bundle: its oddest good images on one page, to be judged by a person."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.common.decoding import decode_image
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_image
from edge_occ.common.printable import printable
from trainer.data.images import pixel_digest
from trainer.data.layout import image_names, normal_folder
from trainer.own_files import check_writable, require_outside, require_own_page
from trainer.report.page import PagePicture
from trainer.report.review import ReviewImage, ReviewPage, review_page
from trainer.review.added_frames import is_added
from trainer.review.judgements import SCHEMA
from trainer.review.oddness import MAX_DEVIATIONS, Oddness, by_oddness
from trainer.review.pictures import BgrImage, judged, thumbnail
from trainer.review.stored_features import GoodImages, StoredFeatures, read_features

MAX_IMAGES = 200
"""On one page, which then has some 30 MB."""

_HELD_OUT = "heatmap by heads that had not seen this image"
_SEEN = "heatmap by the bundle's heads, which were fitted on this image too"


@dataclass(frozen=True)
class Review:
    """A page that was written.

    Attributes:
        page: its file.
        identity: of the bundle.
        images: name and oddness of the images on it, the oddest first.
        of: how many good images there are, without added frames of events.
        odd: how many of them look odd.
    """

    page: Path
    identity: str
    images: Sequence[tuple[str, Oddness]]
    of: int
    odd: int


def review(
    path: Path,
    data: Path | None,
    out: Path,
    count: int,
    load: Callable[[Bundle], LoadedEngine],
    sha256: str | None = None,
) -> Review:
    """Write the page of a bundle.

    Args:
        path: the bundle.
        data: folder of its good images; ``None``: where they were at the training.
        out: the page.
        count: how many images are shown; odd ones are all shown, up to :data:`MAX_IMAGES`.
        load: gives the bundle's engine, which draws heatmaps where the features hold none.
        sha256: digest that the bundle must have, if given.

    Raises:
        InputError: there are no stored features, the images are not there, or the page cannot be written.
        BundleRefused: the bundle is damaged.
    """
    bundle = read_bundle(path, sha256)
    stored = read_features(path, bundle.manifest)
    folder = data or Path(stored.images.folder)
    require_outside(out, folder, "--out")
    require_own_page(out, "--out")
    # Frames of events were judged by a person already, and their pictures may have gone.
    ranked = [image for image in by_oddness(stored.scores) if not is_added(stored.images.names[image.image])]
    odd = sum(image.odd for image in ranked)
    shown = ranked[: max(count, min(odd, MAX_IMAGES))]
    paths = _paths(folder, stored.images, [image.image for image in shown])
    check_writable(out.parent, "--out")
    with ExitStack() as stack:
        images = list(_images(bundle, stored, shown, paths, load, stack))
    of = len(ranked)
    review_page(
        out,
        ReviewPage(
            title=f"Review of {printable(path.stem)}: the {len(shown)} oddest of {of} good images",
            lead=_lead(odd, of),
            advice=_ADVICE,
            images=images,
            command=printable(shlex.join(["edge-occ", "refit", str(path), "--exclude", "review.json"])),
            data={"schema": SCHEMA, "bundle": bundle.manifest.identity},
        ),
    )
    names = [(stored.images.names[image.image], image) for image in shown]
    return Review(out, bundle.manifest.identity, names, of, odd)


_ADVICE = (
    "Is the part good? Mark each image with a button, or with G, D and U; the arrow keys go from one image to the "
    "next. The same mark again takes it away. Call defective only what must not pass inspection: rare good parts have "
    "to stay. Images called good or unsure stay."
)


def _lead(odd: int, of: int) -> str:
    looks = f"{odd} of {of} good images look odd" if odd != 1 else f"1 of {of} good images looks odd"
    return (
        f"{looks}: a held-out score more than {MAX_DEVIATIONS:g} robust deviations above the median, on a logarithmic "
        "scale. A defect among the good images raises the threshold, and defects like it are no longer found."
    )


def _paths(folder: Path, images: GoodImages, wanted: Sequence[int]) -> list[Path]:
    """Return the files of some images.

    Raises:
        InputError: one is not there, or is another picture.
    """
    found = find_images(normal_folder(folder))
    by_name = dict(zip(image_names(folder, found), found, strict=True))
    missing = [images.names[i] for i in wanted if images.names[i] not in by_name]
    if missing:
        raise InputError(
            f"the {len(wanted)} images to review in {folder}",
            f"{len(missing)} missing, such as {missing[0]}",
            "name the folder that 'edge-occ train' was given, with --data",
        )
    for i in wanted:
        name = images.names[i]
        if pixel_digest(decode_image(by_name[name]).pixels).hex() != images.digests[i]:
            raise InputError(
                f"{name} as the bundle was trained on",
                f"another picture in {folder}",
                "name the folder that 'edge-occ train' was given, with --data",
            )
    return [by_name[images.names[i]] for i in wanted]


def _images(
    bundle: Bundle,
    stored: StoredFeatures,
    shown: Sequence[Oddness],
    paths: Sequence[Path],
    load: Callable[[Bundle], LoadedEngine],
    stack: ExitStack,
) -> Iterator[ReviewImage]:
    caption, map_of = _HELD_OUT, _stored_map(stored, bundle.manifest.geometry.pre_stage)
    if map_of is None:
        engine = load(bundle).engine
        stack.callback(engine.close)
        caption, map_of = _SEEN, lambda _, frame: engine.infer(frame).map
    for oddness, path in zip(shown, paths, strict=True):
        frame = read_image(path, bundle.manifest.training.white_level)
        whole, hot, close = judged(frame, map_of(oddness.image, frame), bundle.manifest.calibration)
        yield ReviewImage(
            stored.images.names[oddness.image],
            _facts(oddness, bundle, stored.images),
            thumbnail(frame),
            (
                PagePicture(whole, "the image"),
                PagePicture(hot, f"{caption}; the square is around its peak"),
                PagePicture(close, "the square, close up"),
            ),
        )


def _stored_map(
    stored: StoredFeatures, stage: PreStage | None
) -> Callable[[int, BgrImage], NDArray[np.float32]] | None:
    maps = stored.maps
    if maps is None:
        return None
    return lambda image, frame: maps[image] if stage is None else stage.in_frame(maps[image], frame)


def _facts(oddness: Oddness, bundle: Bundle, images: GoodImages) -> str:
    calibration = bundle.manifest.calibration
    text = (
        f"Rank {oddness.rank} of {len(images.names)}; held-out score {oddness.score:.4g}, "
        f"threshold {calibration.threshold:.4g}; p-value {oddness.p_value:.2g}"
        f"{'; looks odd' if oddness.odd else ''}."
    )
    # Where changed copies of images are held out, too, the threshold may be the score of one of them.
    if oddness.score == calibration.threshold:
        return f"{text} This image sets the threshold."
    return f"{text} It is above the threshold." if oddness.score > calibration.threshold else text
