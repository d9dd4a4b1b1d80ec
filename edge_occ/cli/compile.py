"""``edge-occ compile``: the engine of a bundle, built ahead of a run."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated

import typer

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli.engine import engine_facts, load
from edge_occ.cli.options import ENGINE_HELP, PRECISION_HELP, BundleFile, Config, Json, Settings, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.settings import load_settings
from edge_occ.runtime.config import RunConfig


def compile_bundle(
    bundle: BundleFile,
    engine: Annotated[str | None, typer.Option("--engine", metavar="NAME", help=ENGINE_HELP)] = None,
    precision: Annotated[str | None, typer.Option("--precision", metavar="NAME", help=PRECISION_HELP)] = None,
    config: Config = None,
    settings: Settings = None,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Build the engine for this machine, check its parity, and keep it, so that run starts at once.

    Only TensorRT builds anything; it takes minutes, on the device. Others are loaded and checked.
    Give the same --config as to run: an engine is built for a largest frame.

    For instance: `edge-occ compile part.occ --config run.yaml`
    """
    begun = time.monotonic()
    settings_of_engine = load_settings(RunConfig, [config] if config else [], settings or []).engine
    options = settings_of_engine.options()
    name, arithmetic = engine or settings_of_engine.name, precision or settings_of_engine.precision
    # A user of this command expects TensorRT, so the reason for passing it over is printed on every machine.
    loaded = load(read_bundle(bundle, sha256), name, arithmetic, options, everything=True)
    with closing(loaded.engine):
        facts, summary = engine_facts(loaded), loaded.summary
    seconds = round(time.monotonic() - begun, 1)
    if json:
        print_json({"bundle": str(bundle), "seconds": seconds, "cache": str(options.cache), **facts})
    elif loaded.engine.name == "tensorrt":
        say(f"{summary}; ready after {seconds} s, kept in {options.cache}")
    else:
        say(f"{summary}; it needs no building")
