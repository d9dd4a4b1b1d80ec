"""Commands about a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle import Bundle, read_bundle
from edge_occ.cli.console import print_json, say
from edge_occ.images import find_images, read_image
from engines.base import Engine
from engines.parity import Parity
from engines.select import open_engine

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, cpu or tensorrt.")]


def score(bundle: Path, paths: list[Path], engine: EngineName = "auto", json: Json = False) -> None:
    """Score picture files or folders, one line each."""
    opened = read_bundle(bundle)
    files = [image for path in paths for image in find_images(path)]
    running, _ = load_engine(opened, engine)
    judge = opened.judge()
    for path in files:
        verdict = judge.judge(running.infer(read_image(path)).score)
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
            typer.echo(f"{name:<9}  score {verdict.score:10.2f}  p {verdict.p_value:.4f}  {path}")
    running.close()


def inspect(bundle: Path, json: Json = False) -> None:
    """Show what is in a bundle: model card, members and hashes."""
    opened = read_bundle(bundle)
    if json:
        print_json(opened.manifest.model_dump(mode="json"))
        return
    typer.echo(opened.members["MODEL_CARD.md"].decode())
    for name, member in opened.manifest.members.items():
        typer.echo(f"{member.size:>12,}  {member.sha256[:16]}  {name}")


def verify(bundle: Path, engine: EngineName = "auto", json: Json = False) -> None:
    """Check hashes, format and parity: does this machine compute what the trainer did?"""
    opened = read_bundle(bundle)
    running, parity = load_engine(opened, engine)
    running.close()
    content = {"bundle": str(bundle), "engine": running.name, "precision": running.precision, **vars(parity)}
    if json:
        print_json(content)
    else:
        say(f"{len(opened.members)} members whole; format {opened.manifest.format}")
        say(
            f"parity on {parity.frames} golden frames with {running.name} {running.precision}: score error "
            f"{parity.score_error:.1e}, map error {parity.map_error:.1e}, no verdict flipped"
        )


def bench(
    bundle: Path,
    frames: Annotated[int, typer.Option(min=10, help="Frames to time.")] = 200,
    engine: EngineName = "auto",
    json: Json = False,
) -> None:
    """Measure the speed of a bundle on this machine: engine alone, end to end, and dense against window by window."""
    from edge_occ.bench import run_bench  # noqa: PLC0415

    content = run_bench(bundle, frames, engine)
    if json:
        print_json(content)
        return
    alone, whole, dense = content["engine"]["ms"], content["end_to_end"], content["dense"]
    say(f"engine      p50 {alone['p50']:.1f}  p95 {alone['p95']:.1f}  p99 {alone['p99']:.1f} ms")
    say(f"end to end  {whole['fps']:.1f} frames/s, {whole['of_engine']:.2f} of the engine alone")
    say(
        f"dense       {dense['ms_p50']:.1f} ms; window by window {dense['per_window_ms_p50']:.0f} ms, "
        f"{dense['ratio']:.1f} times as long"
    )
    say(f"memory      {content['rss_mb']:.0f} MB; cold start {content['cold_start_s']:.2f} s")


def load_engine(bundle: Bundle, name: str, threads: int | None = None) -> tuple[Engine, Parity]:
    """An engine that has passed the bundle's parity gate."""
    return open_engine(name, bundle.graph(), bundle.golden(), bundle.tolerance(), threads)
