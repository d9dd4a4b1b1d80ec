"""``edge-occ inspect``: the content of a bundle."""

from __future__ import annotations

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.operating_points import operating_points
from edge_occ.cli.options import BundleFile, Json
from edge_occ.common.console import print_json, print_line


def inspect(bundle: BundleFile, json: Json = False) -> None:
    """Show what is in a bundle: model card, thresholds for several false-alarm rates, members and hashes.

    For instance: `edge-occ inspect part.occ`
    """
    opened = read_bundle(bundle)
    points = operating_points(opened.held_out)
    if json:
        shown = opened.manifest.model_dump(mode="json", by_alias=True)
        print_json({**shown, "operating_points": [point.model_dump(mode="json") for point in points]})
        return
    for line in opened.model_card.split("\n"):
        print_line(line)
    for point in points:
        certified = "" if point.certified else f"  not certified by {point.n} images"
        print_line(f"reject_rate {point.false_alarm_rate:<4g}  threshold {point.threshold:.2f}{certified}")
    recalibrated = opened.manifest.recalibrated
    if recalibrated is not None:
        what = "threshold" if recalibrated.threshold_only else "heads and threshold"
        print_line(
            f"recalibrated {recalibrated.at}: {what} from {recalibrated.frames} frames; before: sha256 "
            f"{recalibrated.parent}"
        )
    for name, member in opened.manifest.members.items():
        print_line(f"{member.size:>12,}  {member.sha256[:16]}  {name}")
