from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_occ.bundle.bundle import MODEL_CARD, PREVIEW, Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.provenance import CandidateHead, ModelSelection
from edge_occ.output.preview import preview
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import Golden, Parity
from trainer.report.model_card import model_card


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


def test_the_card_of_a_bundle(bundle):
    card = bundle.members[MODEL_CARD].decode()
    manifest = bundle.manifest
    assert card.startswith("# Model card\n")
    assert guarantee(manifest.calibration) in card
    for text in (
        "trained on 16 images of 16 different good parts; left out: 0 copies, 0 unusable",
        manifest.training.data_sha256,
        "resized to 96 x 96",
        "(5 x 5)",
        "8 features",
        "per-position",
        f"above {manifest.calibration.threshold:.4g}",
        "\n    edge-occ train --data discs\n",
        manifest.licences,
    ):
        assert text in card
    assert "{" not in card


def test_braces_and_lines_of_a_command_stay_in_its_block(bundle):
    manifest = dict(bundle.manifest)
    manifest["training"] = manifest["training"].model_copy(
        update={"command": "edge-occ train {threshold}\n# Not a title"}
    )
    card = model_card(manifest, Parity(1e-6, 2e-5, 0, 6))
    assert "\n    edge-occ train {threshold}\\n# Not a title\n" in card
    assert "6 golden frames within 1.0e-06 and the heatmaps within" in card


def test_the_smallest_visible_defect_is_stated(bundle):
    manifest = dict(bundle.manifest)
    manifest["geometry"] = manifest["geometry"].model_copy(update={"frame": (3000, 4000), "size": (192, 256)})
    card = " ".join(model_card(manifest, Parity(0, 0, 0, 6)).split())
    assert (
        "- A defect with a smaller side may not be detected: about 62 frame pixels, which are 4 after resizing" in card
    )


def test_the_steps_of_every_branch_and_their_fusion(bundle):
    manifest = dict(bundle.manifest)
    dense, *_ = manifest["head"]["branches"]
    whole = {**dense, "encoder": "resnet18", "window": 96, "stride": 96, "grid": (1, 1), "image_score": "top"}
    two = {"scope": ("shared", "per-position"), "standardise": (False, True), "in_region": (True, True)}
    for branches, count in (([dense], 2), ([{**dense, **two}], 3), ([dense, whole], 4)):
        card = model_card({**manifest, "head": {**manifest["head"], "branches": branches}}, Parity(0, 0, 0, 6))
        steps = card.split("## Processing of a frame\n\n")[1].split("\n\n")[0]
        assert [line[:2] for line in steps.split("\n") if line[0] != " "] == [f"{n}." for n in range(1, count + 1)]
        assert ("all heads" in steps) == (count > 2)
        both = "A Gaussian (shared, in the region and one per-position, standardised, in the region, ledoit-wolf)"
        assert (both in steps) == (count == 3)
    assert "3. The image becomes 8 features of the encoder resnet18" in steps
    assert "the mean of its highest values" in steps
    assert "one per-position" not in steps


def test_the_card_states_the_power_of_the_selected_model(bundle):
    one = CandidateHead(
        encoder="lite0", scope="shared", sigma=4, image_score="max", image_auroc=0.9, pixel_auroc=0.9,
        score_weight=1, map_weight=1,
    )  # fmt: skip
    choice = ModelSelection(
        alignment=0.6, aligned=True, candidates=(one, one), image_auroc=0.9, pixel_auroc=0.9, power=0.7349, defects=311
    )
    manifest = dict(bundle.manifest)
    card = " ".join(model_card({**manifest, "model_selection": choice}, Parity(0, 0, 0, 6)).split())
    assert "## Model selection The heads were selected from 2 candidates without any real defect" in card
    assert "above the threshold of held-out good parts: together they find 73.5% of 311 synthetic defects." in card
    assert "Model selection" not in model_card(manifest, Parity(0, 0, 0, 6))


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(int)


def test_the_preview_shows_a_normal_and_a_pasted_frame_beside_their_heatmaps(bundle):
    golden = bundle.golden()
    picture = decoded(bundle.members[PREVIEW])
    assert picture.shape == (320, 4 * 320 + 3 * 4, 3)
    panels = [picture[:, 324 * k : 324 * k + 320] for k in range(4)]
    for panel, frame in ((panels[0], golden.frames[0]), (panels[2], golden.frames[3])):
        assert np.abs(panel - cv2.resize(frame, (320, 320), interpolation=cv2.INTER_CUBIC)).mean() < 4
    # The paste is far above the threshold, so its heatmap is coloured; a normal frame has next to no colour.
    change = [np.abs(panels[k + 1] - panels[k]).mean() for k in (0, 2)]
    assert change[1] > 4 * change[0]


def test_frames_of_different_sizes_share_a_row(bundle):
    frames = [np.full((40, 400, 3), 90, np.uint8), np.full((700, 350, 3), 90, np.uint8)]
    engine = OnnxRuntimeEngine(bundle.graph())
    golden = Golden(frames, np.zeros(2, np.float32), np.zeros((2, 96, 96), np.float32), 1.0)
    assert decoded(preview(engine, golden, bundle.manifest.calibration)).shape == (320, 2 * 644 + 2 * 160 + 4, 3)
