"""``edge-occ events``: the rate of false events with k of n, from a recorded run on good parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.options import Config, Json, Settings
from edge_occ.common.console import print_json, say
from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from edge_occ.inspection.event_rate import EventRate, resampled_event_rate
from edge_occ.inspection.events import EventTracker
from edge_occ.output.recorded import RecordedRun, read_run
from edge_occ.runtime.config import EventConfig, RunConfig

_BLOCK = 50


def events(
    recording: Annotated[
        Path, typer.Argument(metavar="FILE", help="What edge-occ run --json printed for good parts alone.")
    ],
    per_thousand: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Name the smallest k with at most so many events in 1000 frames."),
    ] = None,
    block: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Frames that stay together: several times event.n and a part's frames."),
    ] = _BLOCK,
    config: Config = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Estimate how many false events k of n gives, from a recorded run on good parts.

    Frames need not be independent: the recording is resampled in blocks of neighbours. event.k, event.n, event.release
    and event.part_gap are those of --config and --set.

    For instance: `edge-occ events good.jsonl --set event.k=2 --set event.n=3 --per-thousand 1`
    """
    event = load_settings(RunConfig, [config] if config else [], settings or []).event
    if per_thousand is not None and not per_thousand > 0:
        raise InputError("a rate above 0 for --per-thousand", f"{per_thousand:g}", "give, say, --per-thousand 1")
    run = read_run(recording)
    frames = len(run.verdicts)
    if frames < 2 * block or block < event.n:
        raise InputError(
            f"a block of at least {event.n} frames (event.n), and at least two blocks of frames",
            f"--block {block} and {frames} scores in {recording}",
            "record more good parts, or set --block",
        )
    rate = _rate(run, event, event.k, block)
    say(f"{frames} frames, {run.faults} without a score; blocks of {block}")
    say(_in_words(event, event.k, rate))
    smallest = None
    if per_thousand is not None:
        rates = ((k, _rate(run, event, k, block)) for k in range(1, event.n + 1))
        smallest = next(((k, of_k) for k, of_k in rates if of_k.upper_95 <= per_thousand), None)
        if smallest is None:
            say(
                f"no k up to event.n={event.n} has a bound of at most {per_thousand:g}: record more frames, as that of "
                "a recording without events is 3000 divided by its frames; or set a larger event.n"
            )
        else:
            say(f"smallest k for a bound of at most {per_thousand:g}: {_in_words(event, *smallest)}")
    if json:
        print_json(
            {
                "schema": "edge-occ/events/1",
                "frames": frames,
                "faults": run.faults,
                "block": block,
                "event": event.model_dump(mode="json"),
                "per_1000_frames": rate.mean,
                "upper_95": rate.upper_95,
                "smallest_k": None if smallest is None else smallest[0],
            }
        )


def _rate(run: RecordedRun, event: EventConfig, k: int, block: int) -> EventRate:
    tracker = EventTracker(k, event.n, event.release, event.part_gap)
    return resampled_event_rate(run.verdicts, run.captured, tracker, block=block)


def _in_words(event: EventConfig, k: int, rate: EventRate) -> str:
    mean, bound = f"{rate.mean:.3g}", f"{rate.upper_95:.3g}"
    return f"{k} of {event.n}: {mean} false events in 1000 frames, at most {bound} with 95 % confidence"
