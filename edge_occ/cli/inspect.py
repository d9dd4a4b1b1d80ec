"""``edge-occ inspect``: the content of a bundle."""

from __future__ import annotations

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli.options import BundleFile, Json
from edge_occ.common.console import print_json, print_line


def inspect(bundle: BundleFile, json: Json = False) -> None:
    """Show what is in a bundle: model card, members and hashes.

    For instance: `edge-occ inspect part.occ`
    """
    opened = read_bundle(bundle)
    if json:
        print_json(opened.manifest.model_dump(mode="json", by_alias=True))
        return
    for line in opened.model_card.split("\n"):
        print_line(line)
    recalibrated = opened.manifest.recalibrated
    if recalibrated is not None:
        what = "threshold" if recalibrated.threshold_only else "heads and threshold"
        print_line(
            f"recalibrated {recalibrated.at}: {what} from {recalibrated.frames} frames; before: sha256 "
            f"{recalibrated.parent}"
        )
    for name, member in opened.manifest.members.items():
        print_line(f"{member.size:>12,}  {member.sha256[:16]}  {name}")
