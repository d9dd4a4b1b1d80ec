"""The line of a soak: its files, and the program that writes pictures into the watched folder."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import cv2
from discs import part, spoil

from edge_occ.bundle.bundle import make_bundle, read_bundle, save_bundle

_REAL_PICTURES, _REAL_VIDEO = "mvtec_ad/bottle/test", "videos/bottle-detection.mp4"
_KEPT_PICTURES = 500


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


def prepare(folder: Path, given: Path, data: Path | None, hang_seconds: float) -> Line:
    """Make the files in an empty folder, of real pictures and videos where ``data`` has them."""
    make_frames(folder / "frames")
    (folder / "hang_seconds").write_text(str(hang_seconds))
    real = data is not None and (data / _REAL_VIDEO).exists()
    if real:
        video, pictures = data / _REAL_VIDEO, sorted((data / _REAL_PICTURES).rglob("*.webp"))
    else:
        video, pictures = make_video(folder / "film.avi"), sorted((folder / "frames").iterdir())
    (folder / "pictures").mkdir()
    bundles = make_bundles(given, folder)
    bundle = folder / "line.occ"
    shutil.copy(bundles[0], bundle)
    watched, evidence, config = folder / "pictures", folder / "evidence", folder / "run.yaml"
    return Line(real, video, pictures, bundles, bundle, watched, evidence, config)


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
