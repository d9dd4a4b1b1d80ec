"""A whole training: from normal images to a bundle and a report."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.bundle import MODEL_CARD, PREVIEW, make_bundle, save_bundle
from edge_occ.bundle.provenance import ModelSelection
from edge_occ.common.printable import printable
from edge_occ.output.preview import picture_row
from trainer.calibration.features import extract_features, with_copies
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.calibration.session import calibrated_on, find_session
from trainer.config import TrainConfig
from trainer.data.images import NormalImages, find_normal_images
from trainer.data.layout import image_names
from trainer.data.posed_images import posed_images
from trainer.data.tiled_images import tiled_images
from trainer.evaluation.pictures import region_pair
from trainer.export.assemble import assemble
from trainer.export.manifest import Facts, manifest_fields
from trainer.graph.branches import Branch, PatchBranch
from trainer.graph.inspection import InspectionGraph
from trainer.job import CHECKPOINTS, Job, Trained, check_places
from trainer.own_files import remove_own
from trainer.pretrain import processes
from trainer.pretrain.encoders import PretrainedEncoders, pretrain_encoders
from trainer.pretrain.processes import choose_device
from trainer.pretrain.region import with_region
from trainer.report.model_card import model_card
from trainer.report.training import training_report
from trainer.review.collect import scores_as_taken, stored_features
from trainer.review.oddness import by_oddness
from trainer.review.stored_features import GoodImages, write_features
from trainer.selection.model_selection import select_model
from trainer.selection.proxy_benchmark import make_defects


def train(job: Job) -> Trained:
    """Pretrain the encoders, fit and calibrate the heads, export, pass the parity gate, write bundle and report.

    Raises:
        InputError: data, settings, a checkpoint or the place of the output are wrong.
        ParityFailure: the exported graph does not compute what torch computes.
        KeyboardInterrupt: interrupted; the same command continues from the checkpoint.
        SystemExit: pretraining is done and this is not the first process of ``torchrun``, which alone continues.
    """
    begun = time.monotonic()
    device = choose_device(job.device)
    with processes.joined(device):
        first = processes.rank() == 0
        if first:
            check_places(job)
            if job.restart:
                remove_own(job.checkpoints, CHECKPOINTS)
        processes.wait()
        # What is wrong with the data or a file is found before the pretraining.
        data = _images(job)
        session = _session(job, data)
        data, mask = with_region(data, job.config)
        if first:
            _log_traits(data, job.config)
        pretrained = pretrain_encoders(data, job.config, job.seed, device, job.checkpoint)
    if not first:
        sys.exit(0)
    size = pretrained.size
    features = extract_features(pretrained.branches, data, size, device)
    config, branches, features, record = _select(job, pretrained, data, features, mask)
    if config.camera_changes.copies:
        features = with_copies(features, branches, data, size, config.camera_changes, job.seed, device)
    calibrator = HeadCalibrator(branches, config, job.seed, data.shots)
    held_out_grids = calibrator.held_out_grids(features)
    fitted = calibrator.fit(features, held_out_grids)
    heads = [branch.head.graph_kinds for branch in config.branches]
    graph = InspectionGraph(branches, heads, size, config.fusion).cpu().eval()
    held_out = partial(calibrator.held_out, features, head=fitted.head)
    exported = assemble(graph, fitted, data, job.config.export, held_out)
    seconds = time.monotonic() - begun
    facts = Facts(
        job.command, job.preset, job.seed, size, config, data, branches, pretrained.fits, record, seconds, mask
    )
    manifest = manifest_fields(facts, fitted.calibration, exported)
    members = {**exported.members, MODEL_CARD: model_card(manifest, exported.parity).encode()}
    bundle = make_bundle(manifest, members)
    if session is not None:
        bundle = calibrated_on(bundle, session)
    save_bundle(job.out, bundle)
    written = bundle.manifest
    region = _region_picture(pretrained.images[0], mask, branches)
    report = training_report(job.report, written, pretrained.trained, bundle.held_out, members[PREVIEW], region)
    if config.keeps_features:
        stored = stored_features(_good(job, data), features, held_out_grids, calibrator, branches, fitted.head, mask)
        write_features(job.features, stored, written)
    remove_own(job.checkpoints, CHECKPOINTS)
    scores = scores_as_taken(held_out_grids, calibrator, fitted.head, len(data), data.stage(size).tiles)
    return Trained(written, report, sum(image.odd for image in by_oddness(scores)))


def _select(
    job: Job, pretrained: PretrainedEncoders, data: NormalImages, features: list[Tensor], mask: NDArray[np.bool_] | None
) -> tuple[TrainConfig, tuple[Branch, ...], list[Tensor], ModelSelection | None]:
    """Return settings, branches and features of the model: those given, or of the selection that they ask for."""
    config, branches = pretrained.config, pretrained.branches
    for branch, settings in zip(branches, config.branches, strict=True):
        branch.set_heads(settings, mask)
    if not config.selection.enabled:
        return config, branches, features, None
    patches = [branch for branch in branches if isinstance(branch, PatchBranch)]
    defects = make_defects(pretrained.images, config.selection.images, job.seed)
    selected = select_model(patches, features, defects, config, job.seed, data.shots, mask)
    kept = selected.kept
    return selected.config, tuple(branches[i] for i in kept), [features[i] for i in kept], selected.record


def _session(job: Job, data: NormalImages) -> NormalImages | None:
    """Return the images of another session to calibrate on; ``None``: the data's own calibrate."""
    if job.calibration is None:
        return None
    return find_session(job.calibration, data, job.config.calibration.false_alarm_rate)


def _images(job: Job) -> NormalImages:
    """Find and check the normal images; with their tiles, or their pose."""
    data = find_normal_images(job.data)
    if job.config.input.tiles is not None:
        return tiled_images(data, job.config)
    return posed_images(data, job.config.pose.mode)


def _log_traits(data: NormalImages, config: TrainConfig) -> None:
    whole = data.stage(config.resized(data.viewed)).map_size
    data.traits.log(whole, data.viewed if data.pose or data.crop else None)


def _good(job: Job, data: NormalImages) -> GoodImages:
    """Return what is stored of the images, but for their features."""
    return GoodImages(
        folder=printable(job.data.absolute()),
        data_sha256=data.sha256,
        names=image_names(job.data, data.paths),
        parts=data.parts,
        digests=data.digests,
    )


def _region_picture(image: Tensor, mask: NDArray[np.bool_] | None, branches: Sequence[Branch]) -> bytes | None:
    """JPEG of a normal image, RGB ``[3, height, width]``, and its region; ``None`` if no head keeps to it."""
    if mask is None or all(branch.region(k) is None for branch in branches for k in range(len(branch.score_maps))):
        return None
    frame = np.ascontiguousarray(image.permute(1, 2, 0).flip(2).numpy())
    return picture_row(region_pair(frame, mask))
