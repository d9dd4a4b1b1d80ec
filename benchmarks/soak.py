"""Soak: ``edge-occ run`` with four cameras for minutes or days, while everything around it breaks again and again.

    make soak                       30 minutes
    make soak MINUTES=4320          72 hours, say on a device
    PYTHONPATH=.:tests python benchmarks/soak.py --bundle part.occ --minutes 2 --json soak.json

One process inspects a played camera that hangs and goes (``left``), a watched folder into which pictures are written
(``folder``), a video in real time (``video``) and a camera that never comes (``dead``).  ``mqtt.repeat_seconds`` is 30,
as the broker is killed.  What ``edge-occ watch`` shows is compared with the event messages that the inspection made:
each exactly once; and so is what a plain subscriber with a lasting session gets, to which messages may come again.
Real videos and pictures are taken from ``--data``; without it, discs are drawn.  What is simulated, and how:
``benchmarks/soak_child.py``; the faults: ``benchmarks/soak_faults.py``.  The files:
``benchmarks/soak_line.py``; what is required: ``benchmarks/soak_verdict.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from mqtt_helpers import Ear, Mosquitto, watched
from soak_child import DEVICE
from soak_faults import FAULTS, Plant, mount_small_disk, unmount
from soak_line import Line, PictureWriter, prepare
from soak_measures import Sampler, compare
from soak_verdict import Listener, Result, inspected, keys, made, shown, usage

_CHILD = Path(__file__).with_name("soak_child.py")


@dataclass(frozen=True)
class Options:
    """Settings of a soak; times in seconds.  ``rounds`` of all faults end it, whatever its length."""

    bundle: Path
    seconds: float = 1800.0
    data: Path | None = None
    fault_seconds: float = 6.0
    calm_seconds: float = 10.0
    warm_up: float = 60.0
    hang_seconds: float = 10.0
    sample_period: float = 2.0
    picture_period: float = 1.0
    largest_gap: float = 10.0
    settle: float = 60.0
    seed: int = 0
    rounds: int | None = None


@contextmanager
def inspector(folder: Path, line: Line) -> Iterator[subprocess.Popen[str]]:
    """The process, without a terminal; its messages go to ``stderr.log``."""
    command = [sys.executable, str(_CHILD), str(folder), "run", "--json", "--config", str(line.config)]
    command += ["--bundle", str(line.bundle)]
    command += ["--source", f"left=v4l2://{DEVICE}", "--source", "dead=v4l2:///dev/video72"]
    command += ["--source", f"folder={line.watched}/?watch=1", "--source", f"video={line.video}?live=1&loop=1&fps=5"]
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def settings(broker: Mosquitto, folder: Path, evidence: Path) -> dict[str, Any]:
    """Settings of the run; pictures of other things than discs are not blurred discs."""
    return {
        "engine": {"name": "cpu", "threads": 1},
        "guards": dict.fromkeys(("blurred", "grey", "black", "white", "torn", "exposure", "size"), False),
        "event": {"part_gap": 0.7},
        "evidence": {"folder": str(evidence), "max_mb": 2},
        "mqtt": {
            "broker": broker.url,
            "device": "soak",
            "state": str(folder / "state"),
            "heatmap_hz": 0.5,
            "repeat_seconds": 30,
        },
    }


def soak(options: Options, folder: Path) -> Result:
    """Run it in an empty folder."""
    line = prepare(folder, options.bundle, options.data, options.hang_seconds)
    stored = ["allow_anonymous true", "persistence true", f"persistence_location {folder}/"]
    stored += ["autosave_on_changes true", "autosave_interval 1", "max_queued_messages 0", "max_inflight_messages 0"]
    with ExitStack() as stack:
        is_disk = mount_small_disk(line.evidence)
        if is_disk:
            stack.callback(unmount, line.evidence)
        broker = Mosquitto(folder, stored).start()
        stack.callback(broker.stop)
        line.config.write_text(yaml.safe_dump(settings(broker, folder, line.evidence)))
        ear = stack.enter_context(Ear(broker.port, "edge-occ/soak/+/event", lasting=True))
        watch = stack.enter_context(watched(broker))
        process = stack.enter_context(inspector(folder, line))
        listener = Listener(process.stdout)
        stack.callback(listener.join)
        stack.callback(process.kill)
        _wait(lambda: listener.gaps.frames["left"] > 0 or process.poll() is not None, options.settle)
        sampler = stack.enter_context(Sampler(process.pid, options.sample_period))
        writer = stack.enter_context(PictureWriter(line.pictures, line.watched, options.picture_period))
        plant = Plant(folder, line.watched, line.evidence, line.config, line.bundle, line.bundles, broker, process,
                      options.fault_seconds, options.hang_seconds, is_disk)  # fmt: skip
        injected = _break_things(plant, options)
        writer.stop()
        _wait(lambda: len(listener.pictures) >= writer.written or process.poll() is not None, options.settle)
        _wait(lambda: not compare(made(folder), keys(ear)).missing or process.poll() is not None, options.settle)
        early = process.poll() is not None
        sampler.stop()
        status = _terminate(process, options.settle)
        listener.join()
        truth = made(folder)
        _wait(
            lambda: not compare(truth, keys(ear)).missing and not compare(truth, shown(watch)).missing, options.settle
        )
        on_the_wire, delivery = compare(truth, keys(ear)), compare(truth, shown(watch))
    result = Result()
    errors = (folder / "stderr.log").read_text()
    rows = [astuple(sample) for sample in sampler.samples]
    (folder / "usage.csv").write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    result.figures = {
        "seconds": round(sampler.samples[-1].seconds) if sampler.samples else 0,
        "real video and pictures": line.real,
        "faults injected": dict(injected),
        "exit status": status,
        "reloads": errors.count(f"reloaded {line.bundle.name}"),
        "reloads refused": errors.count("reload refused"),
        "event messages in watch": asdict(delivery),
        "event messages on the wire": asdict(on_the_wire),
        **inspected(listener, writer.written, options.largest_gap, result),
        **usage(sampler.samples, options.warm_up, result),
    }
    result.require(not early, "the process ended before it was asked to")
    result.require(status == 130, f"exit status {status} after SIGTERM, not 130")
    result.require("Traceback" not in errors, f"a traceback in {folder / 'stderr.log'}")
    result.require(delivery.made > 0, "no event at all")
    result.require(on_the_wire.missing == 0, f"{on_the_wire.missing} event messages never arrived")
    result.require(delivery.missing == 0, f"{delivery.missing} event messages were not shown by watch")
    result.require(delivery.repeated == 0, f"{delivery.repeated} event messages were shown by watch again")
    unknown = max(delivery.unknown, on_the_wire.unknown)
    result.require(unknown == 0, f"{unknown} event messages that nobody made")
    return result


def _break_things(plant: Plant, options: Options) -> Counter[str]:
    """Inject all faults, in another order each round, until the time is over or the process ends."""
    order, injected = random.Random(options.seed), Counter()
    end = time.monotonic() + options.seconds
    for _ in count() if options.rounds is None else range(options.rounds):
        for fault in order.sample(FAULTS, len(FAULTS)):
            time.sleep(options.calm_seconds)
            if (options.rounds is None and time.monotonic() >= end) or plant.process.poll() is not None:
                return injected
            print(f"{time.strftime('%H:%M:%S')} {fault.__name__}", file=sys.stderr, flush=True)
            fault(plant)
            injected[fault.__name__] += 1
    return injected


def _terminate(process: subprocess.Popen[str], seconds: float) -> int | None:
    """Send SIGTERM and return the exit status; ``None`` for a process that had to be killed."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return None


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Break everything around a running inspection, for a long time.")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle to inspect with")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--data", type=Path, help="folder with real pictures and videos")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--folder", type=Path, help="empty folder to work in, which is kept; default: a temporary one")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    seconds = arguments.minutes * 60
    options = Options(arguments.bundle, seconds, arguments.data, warm_up=min(seconds / 3, 3600))
    result = soak(options, folder)
    for name, value in result.figures.items():
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        print(f"{name:<28} {shown}")
    print(f"{'load':<28} {os.getloadavg()[2]:.1f} over 15 minutes, {os.cpu_count()} processors")
    for failure in result.failures:
        print(f"FAILED                       {failure}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**result.figures, "failures": result.failures}, indent=1) + "\n")
    sys.exit(bool(result.failures))


if __name__ == "__main__":
    main()
