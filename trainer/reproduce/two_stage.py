"""The tables of the two-stage paper, one class against the rest: their rows, and the paper's figures for each row.

"Learning and Evaluating Representations for Deep One-class Classification", Sohn et al., ICLR 2021.
"""

from __future__ import annotations

from trainer.protocols import PROTOCOLS
from trainer.protocols.data_set import DataSet
from trainer.reproduce.paper import paper_columns
from trainer.reproduce.semantic import semantic
from trainer.reproduce.table import PaperTable, Row

_HEADS = {"ocsvm": "OC-SVM", "kde": "KDE", "gaussian": "Gaussian", "nearest": "1-NN"}
_LITE0 = ("input.size=128", "encoder.blocks=[15]", "head.dim=100")


def _rows(
    name: str, label: str, preset: str, settings: tuple[str, ...], column: str | None, fixed: bool = False
) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"{name}-{head}",
            f"{label}, {title}",
            preset,
            settings,
            paper=f"{column}-{head}" if f"{column}-{head}" in paper_columns() else None,
            fixed=fixed and head == "kde",
            part=head,
            seeded=name != "frozen",
        )
        for head, title in _HEADS.items()
    )


def _methods(data_set: str, side: int) -> tuple[Row, ...]:
    size = f"input.size={side}"
    untrained = (size, "pretext.name=none", "views.enabled=false")
    return (
        *_rows(
            "frozen", "*frozen ImageNet features, no training*", "imagenet", _LITE0, f"{data_set}-imagenet", fixed=True
        ),
        *_rows("untrained", "*untrained encoder*", "paper-rotation", untrained, None, fixed=True),
        Row(
            "rotnet",
            "RotNet: rotation without a projection head, its own classifier",
            "paper-rotation",
            (size, "pretext.hidden_layers=0", "pretext.embedding=0"),
            paper=f"{data_set}-rotnet",
            part="classifier",
        ),
        *_rows(
            "rotnet",
            "RotNet: rotation without a projection head",
            "paper-rotation",
            (size, "pretext.hidden_layers=0", "pretext.embedding=0"),
            f"{data_set}-rotnet",
        ),
        *_rows("rotation", "rotation prediction", "paper-rotation", (size,), f"{data_set}-rotation"),
        *_rows("contrastive", "contrastive", "paper-contrastive", (size,), f"{data_set}-contrastive"),
        *_rows("contrastive-da", "contrastive (DA)", "paper-contrastive-da", (size,), f"{data_set}-contrastive-da"),
    )


def _table(data_set: DataSet) -> PaperTable:
    return PaperTable(
        data_set.name,
        f"One class against the rest on {data_set.title}: AUROC",
        semantic(data_set),
        data_set.categories,
        _methods(data_set.name, data_set.side),
        main="pool",
        metrics={"pool": "before the projection head", "embed": "after it"},
        notes=("The paper's denoising autoencoder is not reproduced.",),
        spread="standard deviation",
        pictured=(),
    )


TABLES = tuple(_table(data_set) for data_set in PROTOCOLS.values())
