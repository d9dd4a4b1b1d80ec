"""``edge-occ bench``: the speed of a bundle on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge_occ.cli.engine import load
from edge_occ.cli.options import BundleFile, EngineName, Json, Precision, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.runtime.benchmark import run_bench


def bench(
    bundle: BundleFile,
    frames: Annotated[int, typer.Option(metavar="N", min=10, help="Frames to time.")] = 200,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Time every precision in the bundle too; TensorRT builds each.")
    ] = False,
    sha256: Sha256 = None,
    json: Json = False,
) -> None:
    """Measure the speed of a bundle on this machine.

    Times of the engine alone, frames a second from picture files to messages, latency at half that rate as from a
    camera, one dense pass against window by window, memory, cold start; with TensorRT both ways to pass it frames.

    For instance: `edge-occ bench part.occ --frames 500`
    """
    content = run_bench(bundle, frames, load, engine, precision, compare=compare, sha256=sha256)
    if json:
        print_json(content)
        return
    alone, whole, dense = content["engine"]["ms"], content["end_to_end"], content["dense"]
    say(f"engine      {_timing(alone)}")
    for kind in ("precisions", "memory"):
        for name, row in content[kind].items():
            say(f"  {name:<8}  {_timing(row)}")
    say(f"end to end  {whole['fps']:.1f} frames/s, {whole['of_engine']:.2f} of the engine alone")
    say(f"latency     {_timing(whole['ms'])} from capture to verdict, at {whole['paced_fps']:.1f} frames/s")
    if dense is None:
        say("dense       no encoder in this bundle is exact window by window")
    else:
        say(
            f"dense       {dense['ms_p50']:.1f} ms; window by window {dense['per_window_ms_p50']:.0f} ms, "
            f"{dense['ratio']:.1f} times as long (ONNX Runtime, CPU)"
        )
    say(f"memory      {content['rss_mb']:.0f} MB; cold start {content['cold_start_s']:.2f} s")


def _timing(row: dict[str, Any]) -> str:
    return row["failed"] if "failed" in row else f"p50 {row['p50']:.1f}  p95 {row['p95']:.1f}  p99 {row['p99']:.1f} ms"
