"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.select import NAMES

ENGINE_HELP = f"auto, the first that runs here and passes the bundle's parity check; or {', '.join(NAMES[1:])}."
PRECISION_HELP = "Arithmetic of the encoder: auto, fp32, fp16 or int8; auto never takes int8."

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="File written by edge-occ train, NAME.occ.")]
Sha256 = Annotated[
    str | None,
    typer.Option("--sha256", metavar="HEX", help="Refuse a bundle with another digest, as printed by sha256sum."),
]
EngineName = Annotated[str, typer.Option("--engine", metavar="NAME", help=ENGINE_HELP)]
Precision = Annotated[str, typer.Option("--precision", metavar="NAME", help=PRECISION_HELP)]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of settings; configs/run.yaml shows them all.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: section.field=value. Repeatable."),
]
Broker = Annotated[
    str | None, typer.Option(metavar="URL", help="mqtt://host[:port] or mqtts://host[:port]; default: this machine.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on standard output.")]
