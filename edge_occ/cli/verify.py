"""``edge-occ verify``: hashes, format and parity of a bundle."""

from __future__ import annotations

from contextlib import closing

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli.engine import engine_facts, load
from edge_occ.cli.options import BundleFile, EngineName, Json, Precision, Sha256
from edge_occ.common.console import print_json, say


def verify(
    bundle: BundleFile,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Check hashes, format and parity: does this machine compute what the trainer did?

    Exit status 3 if the bundle is damaged or this machine computes something else.

    For instance: `edge-occ verify part.occ --engine tensorrt`
    """
    opened = read_bundle(bundle, sha256)
    loaded = load(opened, engine, precision)
    with closing(loaded.engine):
        facts = engine_facts(loaded)
    if json:
        print_json({"bundle": str(bundle), **facts})
        return
    parity = loaded.parity
    say(f"{len(opened.members)} members whole; format {opened.manifest.format}")
    say(
        f"parity on {parity.frames} golden frames with {loaded.engine.name} {loaded.engine.precision}: score error "
        f"{parity.score_error:.1e}, map error {parity.map_error:.1e}, no verdict flipped"
    )
