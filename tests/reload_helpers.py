"""Bundles and waits for tests of a reload."""

from __future__ import annotations

import time

from edge_occ.bundle.bundle import make_bundle, read_bundle, save_bundle

LONG = 60.0


def another(bundle, path, **training):
    """Write a bundle that differs from another one by its manifest alone."""
    given = read_bundle(bundle)
    manifest = given.manifest.model_dump(by_alias=True, exclude={"members"})
    manifest["training"].update(seed=manifest["training"]["seed"] + 1, **training)
    save_bundle(path, make_bundle(manifest, given.members))


def wait_for(condition, what):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        time.sleep(0.01)
