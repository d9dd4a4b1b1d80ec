"""A recalibration from a folder and from a source to the new version, on a real engine."""

import shutil

import numpy as np
import pytest
from discs import part, spoil, write

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.versions import file_digest, roll_back, versions_of
from edge_occ.common.errors import BundleRefused, EngineUnavailable, InputError, SourceLost
from edge_occ.inspection.guards import GuardsConfig
from edge_occ.runtime import collecting
from edge_occ.runtime.collecting import FrameCollector
from edge_occ.runtime.recalibrate import RecalibrationJob
from edge_occ.sources.fake import FakeSource
from edge_occ.sources.faults import Reason, Unscored

COUNT = 110


def darker(image):
    return (image * 0.8).round().astype(np.uint8)


@pytest.fixture(scope="module")
def new_light(tmp_path_factory):
    """Pictures of good parts under a lamp that has lost a fifth of its light; not to be changed."""
    folder = tmp_path_factory.mktemp("light")
    for i in range(COUNT):
        write(folder / f"{i:03}.png", darker(part(3000 + i)))
    return folder


@pytest.fixture(scope="module")
def recalibrated(tiny_bundle, new_light, tmp_path_factory):
    """File and result; not to be changed."""
    path = tmp_path_factory.mktemp("new") / "part.occ"
    shutil.copy(tiny_bundle, path)
    return path, RecalibrationJob(path, data=new_light, engine="cpu").run(lambda _line: None)


@pytest.fixture
def path(tiny_bundle, tmp_path):
    return shutil.copy(tiny_bundle, tmp_path / "part.occ")


def scores(path, images):
    bundle = read_bundle(path)
    engine = load_engine(bundle, "cpu").engine
    found = [engine.infer(image).score for image in images]
    engine.close()
    return np.array(found) / bundle.manifest.calibration.threshold


def test_the_new_light_gives_few_false_alarms_and_defects_are_still_found(tiny_bundle, recalibrated):
    path, _ = recalibrated
    good = [darker(part(4000 + i)) for i in range(40)]
    bad = [part(5000 + i) for i in range(10)]
    for i, image in enumerate(bad):
        spoil(image, "spot", i, hidden=False)
    assert (scores(tiny_bundle, good) > 1).sum() > 30
    assert (scores(path, good) > 1).sum() <= 3
    assert (scores(path, [darker(image) for image in bad]) > 1).all()


def test_the_old_version_is_kept_and_the_new_one_is_verified(tiny_bundle, recalibrated):
    path, done = recalibrated
    (kept,) = versions_of(path)
    assert kept.path.read_bytes() == tiny_bundle.read_bytes()
    new = read_bundle(path)
    assert new.manifest == done.bundle.manifest
    assert new.manifest.recalibrated.parent == file_digest(tiny_bundle)
    assert new.manifest.recalibrated.frames == COUNT
    assert new.manifest.calibration.n == COUNT - done.record.held_out >= 99
    assert new.manifest.calibration.certified
    for precision in new.precisions:
        load_engine(new, "cpu", precision).engine.close()
    low, high = read_bundle(tiny_bundle).manifest.training.exposure.mean
    assert all(0.7 * low < mean < 0.85 * high for mean in new.manifest.training.exposure.mean)


@pytest.mark.parametrize("engine", ["openvino", "opencv"])
def test_every_runtime_gives_the_features(path, new_light, recalibrated, engine):
    try:
        done = RecalibrationJob(path, data=new_light, engine=engine).run(lambda _line: None)
    except EngineUnavailable as error:
        pytest.skip(error.found)
    reference = recalibrated[1].bundle.manifest.calibration.threshold
    assert done.bundle.manifest.calibration.threshold == pytest.approx(reference, rel=1e-2)


def test_a_source_frames_and_out(path, new_light, tmp_path):
    before = path.read_bytes()
    out = tmp_path / "new.occ"
    job = RecalibrationJob(path, source=f"{new_light}/?loop=1", frames=104, out=out, engine="cpu")
    assert job.run(lambda _line: None).record.frames == 104
    assert path.read_bytes() == before
    assert versions_of(out) == versions_of(path) == []
    assert read_bundle(out).manifest.recalibrated.frames == 104


def test_the_threshold_alone_of_a_bundle_of_an_earlier_commit(tmp_path, new_light):
    """It has no recipe, so that a fit is refused."""
    import pathlib

    earlier = pathlib.Path(__file__).parents[2] / "data" / "a8c75b7.occ"
    path = pathlib.Path(shutil.copy(earlier, tmp_path / "part.occ"))
    with pytest.raises(InputError, match="--threshold-only"):
        RecalibrationJob(path, data=new_light, engine="cpu").run(lambda _line: None)
    assert path.read_bytes() == earlier.read_bytes()
    done = RecalibrationJob(path, data=new_light, engine="cpu", threshold_only=True).run(lambda _line: None)
    new = read_bundle(path)
    assert new.manifest.calibration.n == COUNT - done.record.held_out
    load_engine(new, "cpu").engine.close()
    roll_back(path)
    assert path.read_bytes() == earlier.read_bytes()


def test_a_link_stays_one(path, tmp_path, new_light):
    link = tmp_path / "current.occ"
    link.symlink_to(path)
    RecalibrationJob(link, data=new_light, engine="cpu", threshold_only=True).run(lambda _line: None)
    assert link.is_symlink()
    assert read_bundle(path).manifest.recalibrated is not None
    assert len(versions_of(path)) == 1


def test_failures_change_nothing(path, new_light, tmp_path):
    before = path.read_bytes()
    silent = lambda _line: None  # noqa: E731
    cases = [
        (RecalibrationJob(path, data=new_light, frames=103, engine="cpu"), InputError, "at least 104 frames"),
        (RecalibrationJob(path, data=tmp_path / "none", engine="cpu"), InputError, "a folder of pictures"),
        (RecalibrationJob(path, data=new_light, sha256="1" * 64), BundleRefused, "sha256"),
        (RecalibrationJob(path, data=new_light, out=tmp_path / "x.zip"), InputError, "ends in .occ"),
        (RecalibrationJob(path, source="/dev/video99", frames=5), InputError, "known kind of source"),
        (RecalibrationJob(tmp_path / "no.occ", data=new_light), InputError, "a bundle at"),
    ]
    (tmp_path / "other.occ").write_text("mine")
    cases.append((RecalibrationJob(path, data=new_light, out=tmp_path / "other.occ"), BundleRefused, "zip"))
    for job, kind, text in cases:
        with pytest.raises(kind, match=text):
            job.run(silent)
    assert path.read_bytes() == before
    assert (tmp_path / "other.occ").read_text() == "mine"
    assert not (tmp_path / "part.versions").exists()


@pytest.fixture(scope="module")
def running(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    engine = load_engine(bundle, "cpu").engine
    yield bundle, engine
    engine.close()


def collect(running, script, **options):
    bundle, engine = running
    lines: list[str] = []
    collector = FrameCollector(bundle, engine, GuardsConfig(), notify=lines.append, **{"features": True, **options})
    with FakeSource(script) as source:
        return collector.run(source), lines


def test_what_cannot_be_used_is_left_out_and_counted(running):
    good = [part(i) for i in range(4)]
    black, broken = np.zeros_like(good[0]), Unscored(Reason.UNREADABLE, "cut off")
    torn = good[2].copy()
    torn[30:90] = torn[30]
    frames, lines = collect(running, [*good, black, broken, good[1], torn, np.zeros((4, 4), np.uint8)])
    assert frames.count == 4
    assert frames.left_out == {"black": 1, "unreadable": 1, "copy": 1, "torn": 1, "frame": 1}
    assert any("black" in line for line in lines)
    assert frames.features[0].shape == (4, 5, 5, 8)
    assert frames.features[0].dtype == np.float16
    assert frames.colour is True
    means = [float(image.mean()) for image in good]
    assert frames.exposure.mean == pytest.approx((min(means), max(means)), abs=1e-3)


def test_scores_in_the_place_of_features(running):
    frames, _ = collect(running, [part(i) for i in range(3)], features=False)
    _, engine = running
    np.testing.assert_allclose(frames.scores, [engine.infer(part(i)).score for i in range(3)])
    assert (frames.features, frames.count) == ((), 3)


def test_frames_come_at_most_every_so_often(running):
    frames, _ = collect(running, [part(i) for i in range(5)], every=3600)
    assert (frames.count, frames.left_out) == (1, {})


def test_no_frame_at_all_and_too_many(running, monkeypatch):
    with pytest.raises(InputError, match="none: 2 black"):
        collect(running, [np.zeros_like(part(0))] * 2)
    with pytest.raises(SourceLost):
        collect(running, [part(0), SourceLost("a camera", "none", "plug it in")])
    with pytest.raises(InputError, match="1000 in a row with the pixels of earlier ones, after 2 others"):
        collect(running, [part(0), part(1)] * 1000)
    monkeypatch.setattr(collecting, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="take fewer: --frames 2"):
        collect(running, [part(i) for i in range(5)])
