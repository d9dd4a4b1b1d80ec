"""Description of a recalibrated bundle: the fields of its manifest, and a section of its model card."""

from __future__ import annotations

from edge_occ import __version__
from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.manifest import Calibration, Manifest
from edge_occ.bundle.provenance import Exposure, Recalibrated

_HEADING = "\n## Recalibration\n"


def recalibrated_fields(
    manifest: Manifest, calibration: Calibration, light: tuple[Exposure, bool | None], record: Recalibrated
) -> dict[str, object]:
    """Return the fields of the new manifest, all but the format and the members.

    Args:
        manifest: of the bundle before.
        calibration: the new one.
        light: brightness of the new frames, and whether they have colours.
        record: of the recalibration.
    """
    exposure, colour = light
    same = {name: getattr(manifest, name) for name in Manifest.model_fields if name not in ("format", "members")}
    return {
        **same,
        "created_at": record.at,
        "edge_occ": __version__,
        "calibration": calibration,
        "training": manifest.training.model_copy(update={"exposure": exposure, "colour": colour}),
        "recalibrated": record,
    }


def recalibrated_card(card: str, calibration: Calibration, record: Recalibrated) -> str:
    """Return a model card with a section on this recalibration in the place of an earlier one."""
    what = "The threshold is" if record.threshold_only else "Heads and threshold are"
    trained = card.split(_HEADING, maxsplit=1)[0].rstrip()
    return (
        f"{trained}\n{_HEADING}\n"
        f"{what} from {record.frames} new frames, taken until {record.at}; figures above are of the training.\n"
        f"The threshold is {calibration.threshold:.4g}. {guarantee(calibration)}\n"
        f"{record.false_alarms} of {record.held_out} frames that were held out are above it.\n"
        f"Before: sha256 {record.parent}.\n"
    )
