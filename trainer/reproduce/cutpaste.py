"""The tables of CutPaste on MVTec AD: their rows, and the paper's figures for each row."""

from __future__ import annotations

from dataclasses import replace

from trainer.reproduce.figures import AT_THE_THRESHOLD, THRESHOLD_NOTE
from trainer.reproduce.mvtec import MVTEC, SYNTHETIC
from trainer.reproduce.table import PaperTable, Row

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = (
    *("bottle", "cable", "capsule", "hazelnut", "metal_nut"),
    *("pill", "screw", "toothbrush", "transistor", "zipper"),
)


_FROZEN = Row("frozen", "*frozen features + Gaussian, no training*", "imagenet", fixed=True, paper="b4-level7")
_UNTRAINED = Row("untrained", "*untrained encoder + Gaussian*", "quick", ("pretext.name=none",), fixed=True)
_METHODS = (
    _FROZEN,
    _UNTRAINED,
    Row("quick", "`quick`: dense CutPaste from scratch, short", "quick", paper="image-cutpaste-3way"),
    Row("auto", "`auto`: model selection on normal images", "auto", paper="image-cutpaste-3way"),
    Row("scratch", "`scratch`: dense CutPaste from scratch", "scratch", paper="image-cutpaste-3way"),
    Row(
        "scratch-knn",
        "`scratch` with one Gaussian for the image score and k nearest neighbours for the map",
        "scratch",
        (
            "selection.enabled=false",
            "head.scope=shared",
            "head.further_kinds=knn",
            "map.image_score=top",
            "fusion.score_weights=[1,0]",
            "fusion.map_weights=[0,1]",
        ),
        paper="image-cutpaste-3way",
    ),
    Row(
        "fused",
        "fusion: `auto`, with the encoder from scratch for aligned parts too",
        "auto",
        ("selection.train_further=always",),
        paper="image-cutpaste-3way",
    ),
    Row("paper-image", "`paper-image`: the paper's image model", "paper-image", paper="image-cutpaste-3way"),
    Row("paper", "`paper`: the paper's patch model", "paper"),
    Row("paper-ensemble", "`paper-image`: five of them", "paper-image", ("ensemble=5",), paper="image-ensemble"),
)
_AUTO = (
    "No run selects anything on test data, but the rules and sizes of `auto` were designed with knowledge of the test "
    "figures of bottle, pill, screw and toothbrush (docs/results/defects.md)."
)
_OF_PIXELS = dict.fromkeys(("quick", "auto", "scratch", "scratch-knn", "fused", "paper"), "patch-cutpaste-3way")

_IMAGE_LEVEL = "image level, the paper's tables 1, 4 and 5"
_DENSE = "dense options, each alone on preset quick"


def _variant(pretext: str, label: str) -> Row:
    return Row(
        pretext, label, "paper-image", (f"pretext.name={pretext}",), paper=f"image-{pretext}", block=_IMAGE_LEVEL
    )


def _option(name: str, label: str, *settings: str) -> Row:
    return Row(name, label, "quick", settings, block=_DENSE)


_ABLATION = (
    _FROZEN,
    _UNTRAINED,
    _variant("cutout", "Cutout, grey"),
    _variant("cutout-mean", "Cutout, mean pixel"),
    _variant("cutout-colour", "Cutout, random colour"),
    _variant("colour-scar", "scar of random colour"),
    _variant("confetti", "confetti noise"),
    _variant("rotation", "rotation"),
    _variant("cutpaste", "CutPaste"),
    _variant("cutpaste-scar", "CutPaste-Scar"),
    _variant("cutpaste-union", "CutPaste or CutPaste-Scar, binary"),
    _variant("cutpaste-3way", "CutPaste 3-way"),
    _option("dense", "unchanged"),
    _option("dense-any-change", "every pasted pixel counts, visible or not", "pretext.visible=0"),
    _option("dense-two-scales", "windows of 64 and 32 pixels classified", "pretext.scales=2"),
    _option("dense-binary", "one class for patches and scars", "pretext.name=cutpaste-union"),
    _option("dense-faint-scars", "faint scars too", "pretext.scar_blend=[0.3,1]"),
    _option("dense-paper-scar", "scars as in the paper", "pretext.scar_length=[10,25]"),
    _option("dense-paper-area", "patches as in the paper", "pretext.area=[0.02,0.15]"),
    _option("dense-other", "patches from another image", "pretext.source=other"),
    _option("dense-poisson", "half of the patches blended by Poisson editing", "pretext.poisson=0.5"),
)

_SYNTHETIC = (
    replace(_FROZEN, paper=None),
    _UNTRAINED,
    Row("quick", "`quick`", "quick", paper="synthetic-cutpaste-3way"),
    Row("auto", "`auto`", "auto", paper="synthetic-cutpaste-3way"),
    Row("cutout", "image level, Cutout, grey", "paper-image", ("pretext.name=cutout",), paper="synthetic-cutout"),
    Row(
        "cutpaste-3way",
        "image level, CutPaste 3-way",
        "paper-image",
        ("pretext.name=cutpaste-3way",),
        paper="synthetic-cutpaste-3way",
    ),
)

TABLES = (
    PaperTable(
        "mvtec",
        "Detection on MVTec AD: image AUROC",
        MVTEC,
        TEXTURES + OBJECTS,
        _METHODS,
        main="image_auroc",
        metrics={**AT_THE_THRESHOLD, "image_auroc": "image AUROC"},
        notes=("The paper reports no image AUROC for its patch model.", THRESHOLD_NOTE, _AUTO),
    ),
    PaperTable(
        "mvtec-pixels",
        "Localisation on MVTec AD: pixel AUROC, at the resolution of the masks",
        MVTEC,
        TEXTURES + OBJECTS,
        tuple(replace(row, paper=_OF_PIXELS.get(row.name)) for row in _METHODS),
        main="pixel_auroc",
        metrics={"pixel_auroc": "pixel AUROC", "aupro": "AUPRO, up to 0.3", "aupimo": "AUPIMO"},
        notes=(
            "For its image model the paper reports only the mean pixel AUROC over all 15 categories, 88.3 "
            "(GradCAM, section 4.2).",
            _AUTO,
        ),
    ),
    PaperTable(
        "cutpaste-ablation",
        "Ablation of CutPaste: image AUROC on MVTec AD",
        MVTEC,
        TEXTURES + OBJECTS,
        _ABLATION,
        main="image_auroc",
        metrics={**AT_THE_THRESHOLD, "image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC"},
        notes=(THRESHOLD_NOTE,),
        pictured=("dense", "cutpaste-3way", "frozen"),
    ),
    PaperTable(
        "synthetic",
        "Synthetic defects on the good test images of MVTec AD: image AUROC",
        SYNTHETIC,
        TEXTURES + OBJECTS,
        _SYNTHETIC,
        main="mean",
        notes=(
            "Every good test image is compared with itself with a synthetic defect; one column for each generator.",
            "The paper's seven shapes differ from ours, which are small and often faint: figures are not comparable.",
            "`auto` selects its model with the same generators, on held-out training images.",
        ),
        appendix=("synthetic-cutout", "synthetic-cutpaste-3way"),
        pictured=(),
    ),
)
