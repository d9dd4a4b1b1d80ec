"""Commands about a bundle."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.conformal import Verdict
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.cli.console import print_json, print_line, say
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from edge_occ.common.progress import PhaseReport
from edge_occ.common.settings import load_settings
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.scoring import FaultTally, score_frame
from edge_occ.runtime.config import RunConfig
from edge_occ.sources.faults import Unscored, read_picture
from engines.base import EngineOptions
from engines.select import NAMES

_ENGINES = f"auto, the first that runs here and passes the bundle's parity check; or {', '.join(NAMES[1:])}."
_PRECISIONS = "Arithmetic of the encoder: auto, fp32, fp16 or int8; auto never takes int8."

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="File written by edge-occ train, NAME.occ.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of settings; configs/run.yaml shows them all.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: section.field=value. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
EngineName = Annotated[str, typer.Option("--engine", metavar="NAME", help=_ENGINES)]
Precision = Annotated[str, typer.Option("--precision", metavar="NAME", help=_PRECISIONS)]
Digest = Annotated[
    str | None,
    typer.Option("--sha256", metavar="HEX", help="Refuse a bundle of another digest than this, of sha256sum."),
]


def score(
    bundle: BundleFile,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Picture files, or folders of them.")],
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Score picture files or folders, one line each.

    What cannot be scored is told in its place, the others are scored, and the exit status is 2.

    For instance: `edge-occ score part.occ pictures/ --json`
    """
    opened = read_bundle(bundle, sha256)
    files, missing = _find(paths)
    if not files:
        raise missing[0]
    for error in missing:
        say(f"fault  {error}")
    judge, tally, likeness = opened.conformal_threshold(), FaultTally(), Likeness(opened.manifest, say)
    with closing(load(opened, engine, precision).engine) as running:
        for path in files:
            try:
                image = read_picture(path, opened.manifest.training.white_level)
                scores = score_frame(running, image)
            except Unscored as error:  # noqa: PERF203 - the others must still be scored
                _show_fault(path, error, json=json)
                tally.add(error)
            else:
                tally.scored()
                likeness.look(image)
                _show_verdict(path, judge.verdict(scores.score), json=json)
    failed = sum(tally.counts.values())
    if failed or missing:
        told = [f"{failed} of {len(files)} pictures that cannot be scored"] if failed else []
        told += [f"{len(missing)} of {len(paths)} paths without pictures"] if missing else []
        raise InputError("pictures that can be scored, in every path", " and ".join(told), "see above for each")


def _find(paths: list[Path]) -> tuple[list[Path], list[InputError]]:
    """The pictures of all paths, and what is wrong with the paths that have none."""
    files, missing = [], []
    for path in paths:
        try:
            files += find_images(path)
        except InputError as error:  # noqa: PERF203 - the others must still be scored
            missing.append(error)
    return files, missing


def _show_verdict(path: Path, verdict: Verdict, *, json: bool) -> None:
    name = "anomalous" if verdict.anomalous else "normal"
    if not json:
        print_line(f"{name:<9}  score {verdict.score:10.2f}  p {verdict.p_value:.4f}  {path}")
        return
    print_json(
        {
            "path": str(path),
            "score": verdict.score,
            "p_value": verdict.p_value,
            "threshold": verdict.threshold,
            "verdict": name,
        }
    )


def _show_fault(path: Path, fault: Unscored, *, json: bool) -> None:
    if json:
        print_json({"path": str(path), "verdict": "fault", "reason": fault.reason.value, "detail": fault.detail})
    else:
        told = fault.detail if fault.error is None else str(fault.error)
        say(f"fault      {fault.reason.value}: {told}  {path}")


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
    for name, member in opened.manifest.members.items():
        print_line(f"{member.size:>12,}  {member.sha256[:16]}  {name}")


def verify(
    bundle: BundleFile,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Check hashes, format and parity: does this machine compute what the trainer did?

    Exit status 3 if the bundle is damaged or this machine computes something else.

    For instance: `edge-occ verify part.occ --engine tensorrt`
    """
    opened = read_bundle(bundle, sha256)
    loaded = load(opened, engine, precision)
    with closing(loaded.engine):
        facts = _facts(loaded)
    if json:
        print_json({"bundle": str(bundle), **facts})
    else:
        parity = loaded.parity
        say(f"{len(opened.members)} members whole; format {opened.manifest.format}")
        say(
            f"parity on {parity.frames} golden frames with {loaded.engine.name} {loaded.engine.precision}: score error "
            f"{parity.score_error:.1e}, map error {parity.map_error:.1e}, no verdict flipped"
        )


def compile_bundle(
    bundle: BundleFile,
    engine: Annotated[str | None, typer.Option("--engine", metavar="NAME", help=_ENGINES)] = None,
    precision: Annotated[str | None, typer.Option("--precision", metavar="NAME", help=_PRECISIONS)] = None,
    config: Config = None,
    settings: Settings = None,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Build the engine for this machine, check its parity, and keep it, so that run starts at once.

    Only TensorRT builds anything; it takes minutes, and it is done here, on the device. Others are loaded and checked.
    Give the same --config as to run: an engine is built for a largest frame.

    For instance: `edge-occ compile part.occ --config run.yaml`
    """
    begun = time.monotonic()
    chosen = load_settings(RunConfig, [config] if config else [], settings or []).engine
    options = chosen.options()
    name, arithmetic = engine or chosen.name, precision or chosen.precision
    # Who compiles asks for what is built, so why it is not is news on every machine.
    loaded = load(read_bundle(bundle, sha256), name, arithmetic, options, everything=True)
    with closing(loaded.engine):
        facts, summary = _facts(loaded), loaded.summary
    seconds = round(time.monotonic() - begun, 1)
    if json:
        print_json({"bundle": str(bundle), "seconds": seconds, "cache": str(options.cache), **facts})
    elif loaded.engine.name == "tensorrt":
        say(f"{summary}; ready after {seconds} s, kept in {options.cache}")
    else:
        say(f"{summary}; it needs no building")


def bench(
    bundle: BundleFile,
    frames: Annotated[int, typer.Option(metavar="N", min=10, help="Frames to time.")] = 200,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Time every precision in the bundle too; TensorRT builds each.")
    ] = False,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Measure the speed of a bundle on this machine.

    Times of the engine alone, frames a second from picture files to messages, latency at half that rate as from a
    camera, one dense pass against window by window, memory, cold start; with TensorRT both ways of handing it frames.

    For instance: `edge-occ bench part.occ --frames 500`
    """
    from edge_occ.runtime.benchmark import run_bench  # noqa: PLC0415

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
    say(f"latency     {_timing(whole['ms'])} from capture to verdict, at {whole['paced_fps']:.1f} frames/s")
    if dense is None:
        say("dense       no encoder in this bundle is exact window by window")
    else:
        say(
            f"dense       {dense['ms_p50']:.1f} ms; window by window {dense['per_window_ms_p50']:.0f} ms, "
            f"{dense['ratio']:.1f} times as long (ONNX Runtime, CPU)"
        )
    say(f"memory      {content['rss_mb']:.0f} MB; cold start {content['cold_start_s']:.2f} s")


def load(
    bundle: Bundle,
    name: str,
    precision: str = "auto",
    options: EngineOptions | None = None,
    *,
    everything: bool = False,
) -> LoadedEngine:
    """An engine that has passed the bundle's parity gate; says what was not taken, and shows a build's progress.

    For the arguments and what is raised see :func:`engines.select.open_engine`.
    """
    with PhaseReport() as progress:
        return load_engine(bundle, name, precision, options, notify=say, everything=everything, progress=progress)


def _facts(loaded: LoadedEngine) -> dict[str, object]:
    """Asked while the engine is open: a closed one has no CUDA graph."""
    engine = loaded.engine
    return {"engine": engine.name, "precision": engine.precision, "detail": engine.detail, **vars(loaded.parity)}


def _timing(row: dict[str, Any]) -> str:
    return row["failed"] if "failed" in row else f"p50 {row['p50']:.1f}  p95 {row['p95']:.1f}  p99 {row['p99']:.1f} ms"
