"""Commands about a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_occ.bundle import Bundle, read_bundle
from edge_occ.cli.console import print_json, say
from edge_occ.config import RunConfig
from edge_occ.engine import Loaded, load_engine
from edge_occ.images import find_images, read_image
from edge_occ.printable import printable
from edge_occ.progress import PhaseReport
from edge_occ.settings import load_settings
from engines.base import EngineOptions
from engines.select import NAMES

Config = Annotated[Path | None, typer.Option(help="YAML file of settings; configs/run.yaml shows them all.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.field=value.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
EngineName = Annotated[str, typer.Option("--engine", help=f"{', '.join(NAMES)}.")]
Digest = Annotated[
    str | None,
    typer.Option("--sha256", metavar="HEX", help="Refuse a bundle of another digest than this, of sha256sum."),
]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32, fp16 or int8.")]


def score(
    bundle: Path,
    paths: list[Path],
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Score picture files or folders, one line each."""
    opened = read_bundle(bundle, sha256)
    files = [image for path in paths for image in find_images(path)]
    loaded = load(opened, engine, precision)
    judge = opened.judge()
    for path in files:
        verdict = judge.judge(loaded.engine.infer(read_image(path)).score)
        name = "anomalous" if verdict.anomalous else "normal"
        if json:
            print_json(
                {
                    "path": str(path),
                    "score": verdict.score,
                    "p_value": verdict.p_value,
                    "threshold": verdict.threshold,
                    "verdict": name,
                }
            )
        else:
            typer.echo(f"{name:<9}  score {verdict.score:10.2f}  p {verdict.p_value:.4f}  {printable(str(path))}")
    loaded.engine.close()


def inspect(bundle: Path, json: Json = False) -> None:
    """Show what is in a bundle: model card, members and hashes."""
    opened = read_bundle(bundle)
    if json:
        print_json(opened.manifest.model_dump(mode="json"))
        return
    typer.echo("\n".join(map(printable, opened.model_card.split("\n"))))
    for name, member in opened.manifest.members.items():
        typer.echo(f"{member.size:>12,}  {member.sha256[:16]}  {name}")


def verify(
    bundle: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Check hashes, format and parity: does this machine compute what the trainer did?"""
    opened = read_bundle(bundle, sha256)
    loaded = load(opened, engine, precision)
    loaded.engine.close()
    if json:
        print_json({"bundle": str(bundle), **_facts(loaded)})
    else:
        parity = loaded.parity
        say(f"{len(opened.members)} members whole; format {opened.manifest.format}")
        say(
            f"parity on {parity.frames} golden frames with {loaded.engine.name} {loaded.engine.precision}: score error "
            f"{parity.score_error:.1e}, map error {parity.map_error:.1e}, no verdict flipped"
        )


def compile_bundle(
    bundle: Path,
    engine: Annotated[str | None, typer.Option("--engine", help=f"{', '.join(NAMES)}.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, fp16 or int8.")] = None,
    config: Config = None,
    settings: Settings = None,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Build the engine for this machine, check its parity, and keep it, so that run starts at once.

    Only TensorRT builds anything; it takes minutes, and it is done here, on the device. Others are loaded and checked.
    Give the same --config as to run: an engine is built for a largest frame.
    """
    begun = time.monotonic()
    chosen = load_settings(RunConfig, [config] if config else [], settings or []).engine
    options = chosen.options()
    loaded = load(read_bundle(bundle, sha256), engine or chosen.name, precision or chosen.precision, options)
    loaded.engine.close()
    seconds = round(time.monotonic() - begun, 1)
    if json:
        print_json({"bundle": str(bundle), "seconds": seconds, "cache": str(options.cache), **_facts(loaded)})
    elif loaded.engine.name == "tensorrt":
        say(f"{loaded.summary}; ready after {seconds} s, kept in {options.cache}")
    else:
        say(f"{loaded.summary}; it needs no building")


def bench(
    bundle: Path,
    frames: Annotated[int, typer.Option(min=10, help="Frames to time.")] = 200,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Time every precision in the bundle too; TensorRT builds each.")
    ] = False,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Measure the speed of a bundle on this machine: engine alone, end to end, and dense against window by window.

    With TensorRT on a GPU also both ways of handing it frames.
    """
    from edge_occ.bench import run_bench  # noqa: PLC0415

    content = run_bench(bundle, frames, load, engine, precision, compare=compare, sha256=sha256)
    if json:
        print_json(content)
        return
    alone, whole, dense = content["engine"]["ms"], content["end_to_end"], content["dense"]
    say(f"engine      p50 {alone['p50']:.1f}  p95 {alone['p95']:.1f}  p99 {alone['p99']:.1f} ms")
    for kind in ("precisions", "memory"):
        for name, row in content[kind].items():
            say(f"  {name:<8}  {_timing(row)}")
    say(f"end to end  {whole['fps']:.1f} frames/s, {whole['of_engine']:.2f} of the engine alone")
    if dense is None:
        say("dense       no encoder in this bundle is exact window by window")
    else:
        say(
            f"dense       {dense['ms_p50']:.1f} ms; window by window {dense['per_window_ms_p50']:.0f} ms, "
            f"{dense['ratio']:.1f} times as long (ONNX Runtime, CPU)"
        )
    say(f"memory      {content['rss_mb']:.0f} MB; cold start {content['cold_start_s']:.2f} s")


def load(bundle: Bundle, name: str, precision: str = "auto", options: EngineOptions | None = None) -> Loaded:
    """An engine that has passed the bundle's parity gate; says what was not taken, and shows a build's progress."""
    with PhaseReport() as progress:
        return load_engine(bundle, name, precision, options, tell=say, progress=progress)


def _facts(loaded: Loaded) -> dict[str, object]:
    engine = loaded.engine
    return {"engine": engine.name, "precision": engine.precision, "detail": engine.detail, **vars(loaded.parity)}


def _timing(row: dict[str, Any]) -> str:
    return row["failed"] if "failed" in row else f"p50 {row['p50']:.1f}  p95 {row['p95']:.1f}  p99 {row['p99']:.1f} ms"
