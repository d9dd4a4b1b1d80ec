"""Soak: ``edge-occ run`` with four cameras for minutes or days, while everything around it breaks again and again.

    make soak                       30 minutes
    make soak MINUTES=4320          72 hours, say on a device
    PYTHONPATH=.:tests python benchmarks/soak.py --bundle part.occ --minutes 2 --json soak.json

One process inspects a played camera that hangs and goes (``left``), a watched folder into which pictures are written
(``folder``), a video in real time (``video``) and a camera that never comes (``dead``).  ``mqtt.repeat_seconds`` is 30,
as the broker is killed.  What ``edge-occ watch`` shows is compared with the event messages that the inspection made:
each exactly once; and so is what a plain subscriber with a lasting session gets, to which messages may come again.
Real videos and pictures are taken from ``--data``; without it, discs are drawn.  What is simulated, and how:
``benchmarks/soak_child.py``; the faults: ``benchmarks/soak_faults.py``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import IO, Any

import cv2
import yaml
from discs import part, spoil
from mqtt_helpers import Ear, Mosquitto, payloads, watched
from soak_child import DEVICE
from soak_faults import FAULTS, Plant, mount_small_disk, unmount
from soak_measures import Gaps, Sampler, Usage, compare, floor_growth, slope

from edge_occ.bundle.bundle import make_bundle, read_bundle, save_bundle
from edge_occ.mqtt.payloads import Event

_REAL_PICTURES, _REAL_VIDEO = "mvtec_ad/bottle/test", "videos/bottle-detection.mp4"
_KEPT_PICTURES = 500
_CHILD = Path(__file__).with_name("soak_child.py")
_JUDGED_HOURS = 1.0
"""Length from which growth of memory is judged: on a shorter run its uncertainty is larger than the limit."""
MB_AN_HOUR = 1.0


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


@dataclass
class Result:
    """Figures of a soak; ``failures`` is empty where everything held."""

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def require(self, holds: bool, what: str) -> None:
        """Record a failure unless something holds."""
        if not holds:
            self.failures.append(what)


def make_frames(folder: Path) -> None:
    """Forty discs, the last four of them with a defect."""
    folder.mkdir()
    for index in range(40):
        image = part(index)
        if index >= 36:
            spoil(image, "spot", index, hidden=False)
        cv2.imwrite(str(folder / f"{index:02}.png"), image)


def make_video(file: Path) -> Path:
    """A film of discs."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (112, 112))
    for index in range(50):
        writer.write(part(index))
    writer.release()
    return file


def make_bundles(given: Path, folder: Path) -> list[Path]:
    """The bundle, and one that differs from it by its manifest alone, so that scores can be compared."""
    bundle = read_bundle(given)
    manifest = bundle.manifest.model_dump(by_alias=True, exclude={"members"})
    manifest["training"]["seed"] += 1
    made = [folder / "first.occ", folder / "second.occ"]
    shutil.copy(given, made[0])
    save_bundle(made[1], make_bundle(manifest, bundle.members))
    return made


class PictureWriter:
    """Another program: it moves a picture into the watched folder every so often, unless the folder is away."""

    def __init__(self, pictures: list[Path], folder: Path, period: float) -> None:
        self.written = 0
        self._pictures, self._folder, self._period = cycle(pictures), folder, period
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> PictureWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Write no more."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._period):
            picture = next(self._pictures)
            prepared = self._folder.with_name("next")
            shutil.copyfile(picture, prepared)
            try:
                prepared.rename(self._folder / f"{self.written:08}{picture.suffix}")
            except OSError:
                continue
            self.written += 1
            for old in self._folder.glob(f"{self.written - _KEPT_PICTURES:08}.*"):
                old.unlink()


class Listener:
    """Reads the inspector's lines of JSON: frames by camera, the gaps between them, names of the folder's pictures."""

    def __init__(self, stream: IO[str]) -> None:
        self.gaps, self.pictures, self.faults = Gaps(), Counter(), Counter()
        self._thread = threading.Thread(target=self._run, args=(stream,))
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join()

    def _run(self, stream: IO[str]) -> None:
        for line in stream:
            content = json.loads(line)
            if content["schema"] == "edge-occ/score/1":
                self.gaps.add(content["camera"], time.monotonic())
            elif content["schema"] == "edge-occ/fault/1":
                self.faults[content["reason"]] += 1
            if content.get("camera") == "folder":
                self.pictures[content["name"]] += 1


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


@dataclass(frozen=True)
class Line:
    """The files of a run.

    Attributes:
        real: whether video and pictures are real ones.
        video: film of the camera in real time.
        pictures: what is written into the watched folder, again and again.
        bundles: bundles to exchange.
        bundle, watched, evidence, config: as in :class:`~soak_faults.Plant`.
    """

    real: bool
    video: Path
    pictures: list[Path]
    bundles: list[Path]
    bundle: Path
    watched: Path
    evidence: Path
    config: Path


def prepare(options: Options, folder: Path) -> Line:
    """Make the files in an empty folder."""
    make_frames(folder / "frames")
    (folder / "hang_seconds").write_text(str(options.hang_seconds))
    real = options.data is not None and (options.data / _REAL_VIDEO).exists()
    if real:
        video, pictures = options.data / _REAL_VIDEO, sorted((options.data / _REAL_PICTURES).rglob("*.webp"))
    else:
        video, pictures = make_video(folder / "film.avi"), sorted((folder / "frames").iterdir())
    (folder / "pictures").mkdir()
    bundles = make_bundles(options.bundle, folder)
    bundle = folder / "line.occ"
    shutil.copy(bundles[0], bundle)
    watched, evidence, config = folder / "pictures", folder / "evidence", folder / "run.yaml"
    return Line(real, video, pictures, bundles, bundle, watched, evidence, config)


def soak(options: Options, folder: Path) -> Result:
    """Run it in an empty folder."""
    line = prepare(options, folder)
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
        **inspected(listener, writer.written, options, result),
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


def inspected(listener: Listener, written: int, options: Options, result: Result) -> dict[str, Any]:
    """Return the frames, and require that they came all the time, and each picture of the folder once."""
    pictures, gaps = listener.pictures, listener.gaps
    result.require(len(pictures) == written, f"{written - len(pictures)} pictures of the folder were not inspected")
    result.require(set(pictures.values()) <= {1}, "pictures of the folder were inspected again")
    gap = gaps.largest.get("video", math.inf)
    result.require(gap <= options.largest_gap, f"no frame of the video for {gap:.1f} s")
    return {
        "frames": dict(gaps.frames),
        "largest gap, s": {name: round(gap, 2) for name, gap in gaps.largest.items()},
        "frames not inspected": dict(listener.faults),
        "pictures written": written,
        "pictures inspected": len(pictures),
        "pictures repeated": sum(count - 1 for count in pictures.values()),
    }


def made(folder: Path) -> list[tuple[str, ...]]:
    """Camera, id, phase and frame of the event messages that the inspection made so far."""
    log = folder / "events.log"
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def keys(ear: Ear) -> list[tuple[str, ...]]:
    """The same of those that arrived at the plain subscriber."""
    return [(e["camera"], e["id"], e["phase"], str(e["frame"])) for e in payloads(ear.of("event"))]


def shown(events: list[Event]) -> list[tuple[str, ...]]:
    """The same of those that ``watch`` shows."""
    return [(event.camera or "", event.id, event.phase.value, str(event.frame)) for event in list(events)]


def usage(samples: list[Usage], warm_up: float, result: Result) -> dict[str, Any]:
    """Return the growth after the warm-up, and require that there is none where that can be judged."""
    warm = [sample for sample in samples if sample.seconds >= warm_up]
    if len(warm) < 10:
        return {"growth": "the run was too short"}
    threads, files = (floor_growth([getattr(s, name) for s in warm]) for name in ("threads", "files"))
    rss = slope([s.seconds for s in warm], [s.rss_mb for s in warm])
    result.require(threads <= 0, f"{threads} more threads")
    result.require(files <= 0, f"{files} more open files")
    judged = warm[-1].seconds - warm[0].seconds >= _JUDGED_HOURS * 3600
    result.require(not judged or rss.low < MB_AN_HOUR, f"memory grows by {rss.value:.2f} MB an hour")
    return {
        "threads": f"{warm[0].threads} to {warm[-1].threads}, growth {threads}",
        "open files": f"{warm[0].files} to {warm[-1].files}, growth {files}",
        "memory, MB": f"{warm[0].rss_mb:.1f} to {warm[-1].rss_mb:.1f}, most {max(s.rss_mb for s in warm):.1f}",
        "memory growth, MB an hour": f"{rss.value:.2f} (95 %: {rss.low:.2f} to {rss.high:.2f})"
        + ("" if judged else ", too short to judge"),
    }


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
    # An hour, because deques of the latest 10,000 latencies fill so slowly at five frames a second.
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
