"""The faults of a soak: each is a function of the plant that breaks something, waits, and mends it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mqtt_helpers import Mosquitto


@dataclass
class Plant:
    """The parts that faults act on.

    Attributes:
        folder: with the files that control the cameras and the clock.
        pictures: the watched folder.
        evidence: the evidence folder; a small disk of its own where ``is_disk``.
        config: the settings' file.
        bundle: the bundle in use.
        bundles: bundles to exchange it with, in turn.
        broker: the broker.
        process: the inspector.
        seconds: how long a fault lasts.
        hang_seconds: until a driver's call is given up.
    """

    folder: Path
    pictures: Path
    evidence: Path
    config: Path
    bundle: Path
    bundles: list[Path]
    broker: Mosquitto
    process: subprocess.Popen[str]
    seconds: float
    hang_seconds: float
    is_disk: bool = False

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def reload(self, expected: str) -> None:
        """Send SIGHUP and wait, for a minute at most, until the process says what is expected once more."""
        log = self.folder / "stderr.log"
        before, deadline = log.read_text().count(expected), time.monotonic() + 60
        self.hang_up()
        while log.read_text().count(expected) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(self.seconds)


def hang(plant: Plant) -> None:
    """A read of the camera does not return, for longer than the driver's limit."""
    _while_there(plant.folder / "hang", plant.hang_seconds + plant.seconds)


def vanish(plant: Plant) -> None:
    """The camera is unplugged and plugged in again."""
    _while_there(plant.folder / "gone", plant.seconds)


def folder_away(plant: Plant) -> None:
    """The watched folder is away, as a share of the network is."""
    away = plant.pictures.with_name("away")
    plant.pictures.rename(away)
    time.sleep(plant.seconds)
    away.rename(plant.pictures)


def broker_killed(plant: Plant) -> None:
    """The broker is killed and started again."""
    plant.broker.stop(kill=True)
    time.sleep(plant.seconds)
    plant.broker.start()


def broker_silent(plant: Plant) -> None:
    """The broker keeps its connections and does not answer."""
    plant.broker.pause()
    time.sleep(plant.seconds)
    plant.broker.resume()


def disk_full(plant: Plant) -> None:
    """The disk of the evidence is full; left out where it has no disk of its own."""
    if not plant.is_disk:
        return
    filler = plant.evidence / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    time.sleep(plant.seconds)
    filler.unlink()


def clock_step(plant: Plant) -> None:
    """The wall clock is a day ahead, then a day behind, then right."""
    for seconds in (86_400, -86_400, 0):
        (plant.folder / "clock").write_text(str(seconds))
        time.sleep(plant.seconds / 3)


def bundle_swapped(plant: Plant) -> None:
    """Another bundle takes the place of the one in use, and SIGHUP asks for it."""
    plant.bundles.append(plant.bundles.pop(0))
    new = plant.bundle.with_suffix(".new")
    shutil.copy(plant.bundles[0], new)
    new.replace(plant.bundle)
    plant.reload("reloaded ")


def bundle_torn(plant: Plant) -> None:
    """A bundle that was cut short is refused; the one in use stays."""
    whole = plant.bundle.read_bytes()
    new = plant.bundle.with_suffix(".new")
    new.write_bytes(whole[: len(whole) // 2])
    new.replace(plant.bundle)
    plant.reload("reload refused")
    new.write_bytes(whole)
    new.replace(plant.bundle)


def settings_wrong(plant: Plant) -> None:
    """Settings that are no YAML are refused; those in use stay."""
    right = plant.config.read_text()
    plant.config.write_text("guards: [")
    plant.reload("reload refused")
    plant.config.write_text(right)
    plant.reload("reloaded ")


def hang_up_storm(plant: Plant) -> None:
    """SIGHUP comes hundreds of times, faster than a reload takes."""
    for _ in range(300):
        plant.hang_up()
        time.sleep(0.001)


FAULTS: tuple[Callable[[Plant], None], ...] = (
    hang,
    bundle_swapped,
    broker_killed,
    hang_up_storm,
    vanish,
    bundle_torn,
    disk_full,
    folder_away,
    settings_wrong,
    clock_step,
    broker_silent,
)


def mount_small_disk(folder: Path, megabytes: int = 12) -> bool:
    """Mount a small disk in memory; return whether this user may."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Unmount it."""
    subprocess.run(["umount", str(folder)], check=True)


def _while_there(file: Path, seconds: float) -> None:
    file.touch()
    time.sleep(seconds)
    file.unlink()
