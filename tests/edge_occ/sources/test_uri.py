from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_occ.sources.opening as opening_module
from edge_occ.common.errors import InputError
from edge_occ.common.images import IMAGE_SUFFIXES
from edge_occ.common.settings import load_settings
from edge_occ.runtime.config import RunConfig
from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.files import FileSource
from edge_occ.sources.opening import is_steady, open_source
from edge_occ.sources.uri import VIDEO_SUFFIXES, SourceKind, SourceUri, parse_uri

CAMERA, VIDEO, PICTURES = SourceKind.CAMERA, SourceKind.VIDEO, SourceKind.PICTURES
CSI, RTSP, WATCHED = SourceKind.CSI, SourceKind.RTSP, SourceKind.WATCHED


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("0", SourceUri(CAMERA, "/dev/video0", live=True)),
        ("12?width=640", SourceUri(CAMERA, "/dev/video12", live=True, width=640)),
        ("v4l2:///dev/video3", SourceUri(CAMERA, "/dev/video3", live=True)),
        ("V4L2:///dev/v4l/by-id/usb-cam-index0", SourceUri(CAMERA, "/dev/v4l/by-id/usb-cam-index0", live=True)),
        ("0?fps=10&width=1920&height=1080", SourceUri(CAMERA, "/dev/video0", 10, False, True, 1920, 1080)),
        ("0?triggered=1", SourceUri(CAMERA, "/dev/video0", live=True, triggered=True)),
        ("0?triggered=0", SourceUri(CAMERA, "/dev/video0", live=True, triggered=False)),
        (
            "0?silent=never&lost=1.5&reopen=0",
            SourceUri(
                CAMERA, "/dev/video0", live=True, patience=(("reopen", 0.0), ("lost", 1.5), ("silent", math.inf))
            ),
        ),
        ("line.mp4", SourceUri(VIDEO, "line.mp4")),
        ("/a b/LINE.MKV?fps=29.97&loop=1", SourceUri(VIDEO, "/a b/LINE.MKV", 29.97, True)),
        ("line.avi?live=1", SourceUri(VIDEO, "line.avi", live=True)),
        ("parts/", SourceUri(PICTURES, "parts/")),
        ("parts/?loop=0&live=0", SourceUri(PICTURES, "parts/")),
        ("parts/*.png?fps=2", SourceUri(PICTURES, "parts/*.png", 2)),
        ("parts/img?.png", SourceUri(PICTURES, "parts/img?.png")),
        ("parts/img?.png?loop=1", SourceUri(PICTURES, "parts/img?.png", loop=True)),
        ("parts/[ab]*", SourceUri(PICTURES, "parts/[ab]*")),
        ("clips/*.mp4", SourceUri(PICTURES, "clips/*.mp4")),
        ("one.JPG", SourceUri(PICTURES, "one.JPG")),
        ("./0.png", SourceUri(PICTURES, "./0.png")),
        ("csi://0", SourceUri(CSI, "0", live=True)),
        (
            "csi://1?width=640&height=480&fps=60",
            SourceUri(CSI, "1", fps=60, live=True, width=640, height=480),
        ),
        ("rtsp://cam/s", SourceUri(RTSP, "rtsp://cam/s", live=True)),
        ("RTSPS://cam:322/s?a=1&b", SourceUri(RTSP, "rtsps://cam:322/s?a=1&b", live=True)),
        (
            "rtsp://u:p@cam/s?channel=1&lost=never&subtype=0&triggered=1",
            SourceUri(
                RTSP,
                "rtsp://u:p@cam/s?channel=1&subtype=0",
                live=True,
                triggered=True,
                patience=(("lost", math.inf),),
            ),
        ),
        (".?watch=1", SourceUri(WATCHED, ".")),
        ("./?settle=2&watch=all", SourceUri(WATCHED, "./", everything=True, settle=2.0)),
    ],
)
def test_the_grammar(uri, expected):
    assert parse_uri(uri) == expected


def test_what_exists_decides(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "clip.mp4").mkdir()
    for name in ("what?fps=1.png", "take[1].mp4", "take?loop=1"):
        (tmp_path / name).touch()
    assert parse_uri("parts") == SourceUri(PICTURES, "parts")
    assert parse_uri("parts?fps=3") == SourceUri(PICTURES, "parts", 3)
    assert parse_uri("clip.mp4") == SourceUri(PICTURES, "clip.mp4"), "a folder, whatever its name"
    assert parse_uri("what?fps=1.png") == SourceUri(PICTURES, "what?fps=1.png")
    assert parse_uri("what?fps=1.png?fps=2") == SourceUri(PICTURES, "what?fps=1.png", 2)
    assert parse_uri("take[1].mp4") == SourceUri(VIDEO, "take[1].mp4")
    with pytest.raises(InputError, match="known kind"):
        parse_uri("take?loop=1")
    (tmp_path / "take?loop=1").unlink()
    (tmp_path / "take").mkdir()
    assert parse_uri("take?loop=1") == SourceUri(PICTURES, "take", loop=True)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("csi://12", "csi:// address;"),
        ("csi://user:secret@0", "csi:// address;"),
        ("rtsp:///stream", "rtsp:// address;"),
        ("rtsp://user:secret@/stream", "rtsp:// address;"),
        ("rtmp://user:secret@camera/stream", "rtmp:// address;"),
        ("http://host/a.mp4", "http:// address;"),
        ("v4l2://video0", "v4l2:// address;"),
        ("", "found nothing;"),
        ("parts", "found parts;"),
        ("notes.txt", "found notes.txt;"),
        ("a" * 300, "found aaa"),
        ("1234", "found 1234;"),
    ],
)
def test_the_error_for_an_unknown_kind_lists_the_known_ones(uri, words):
    with pytest.raises(InputError) as caught:
        parse_uri(uri)
    assert words in str(caught.value)
    assert "v4l2:///dev/video0" in caught.value.advice
    assert "folder/" in caught.value.advice
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("a.mp4?speed=2", "fps, loop, live; found speed"),
        ("a.mp4?=2", "leave"),
        ("a.mp4?fps=1&fps=2", "fps twice"),
        ("a.mp4?fps=1&", "fps, loop, live"),
        ("a.mp4?width=640", "the model resizes them"),
        ("parts/?height=640", "the model resizes them"),
        ("0?loop=1", "options of a camera source: fps, width, height, triggered, reopen, lost, silent; found loop"),
        ("0?live=1", "found live"),
        *[(f"a.mp4?fps={bad}", f"fps={bad}") for bad in ("", "0", "-1", "nan", "inf", "1001", "ten")],
        *[(f"0?width={bad}", f"width={bad}") for bad in ("", "0", "-1", "6.5", "100000", "٣")],
        *[(f"a.mp4?loop={bad}", f"loop={bad}") for bad in ("", "2", "yes", "true")],
        *[(f"0?lost={bad}", f"lost={bad}") for bad in ("", "-1", "nan", "inf", "Never", "1e3", "soon")],
        ("0?triggered=yes", "triggered=yes"),
        ("a.mp4?triggered=1", "found triggered"),
        ("0?lost", "found lost=; write, say, ?lost=60 or ?lost=never"),
        ("a.mp4?live=no", "live=no"),
        ("a.mp4?loop", "found loop=; write ?loop=1"),
        (".?watch=2", "found watch=2"),
        (".?watch=1&loop=1", "watch, settle; found loop"),
        (".?settle=1", "fps, loop, live, watch; found settle"),
        ("no/?watch=1", "an existing folder to watch; found no/"),
        ("a.mp4?watch=1", "found watch"),
        ("csi://0?width=640", "width and height together"),
        ("rtsp://u:secret@cam/s?lost=soon", "lost=soon"),
        ("rtsp://u:secret@cam/s?lost=1&lost=2", "lost twice in rtsp://cam/s"),
        ("rtsp://u:secret@cam:99999999/s", "found rtsp://cam:99999999/s"),
    ],
)
def test_malformed_options_are_refused(uri, words):
    with pytest.raises(InputError) as caught:
        parse_uri(uri)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2


rates = st.none() | st.floats(0.001, 1000) | st.integers(1, 1000)
paths = st.sampled_from(sorted(f"dir/x{suffix}" for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES))


@given(paths, rates, st.none() | st.booleans(), st.none() | st.booleans(), st.randoms())
def test_options_in_any_order(path, fps, loop, live, rnd):
    options = [f"{name}={value}" for name, value in (("fps", fps), *switches(loop, live)) if value is not None]
    rnd.shuffle(options)
    source = parse_uri(f"{path}?{'&'.join(options)}" if options else path)
    assert (source.target, source.fps, source.loop, source.live) == (path, fps, bool(loop), bool(live))


def switches(loop, live):
    return [(name, None if value is None else int(value)) for name, value in (("loop", loop), ("live", live))]


@given(st.text() | st.text(alphabet="a0?=&/:.*[]", max_size=20))
def test_any_text_is_understood_or_refused(text):
    with contextlib.suppress(InputError):
        assert parse_uri(text).target


def test_suffixes_of_pictures_and_videos_do_not_overlap():
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES
    assert all(s == s.lower() and s.startswith(".") for s in IMAGE_SUFFIXES | VIDEO_SUFFIXES)


def test_opening_pictures_and_videos(tmp_path, write_pictures, write_video):
    write_pictures(tmp_path / "parts", 3)
    write_video(tmp_path / "line.avi", 5)
    with open_source("parts/?loop=0&fps=1000") as source:
        assert isinstance(source, FileSource)
        assert not source.live
        assert [(f.index, f.name) for f in source] == [(0, "img0.png"), (1, "img1.png"), (2, "img2.png")]
    with open_source("line.avi") as source:
        assert len(list(source)) == 5
    with open_source("line.avi?live=1&fps=200") as source:
        assert source.live
        assert list(source)[-1].index == 4
    with open_source("parts/img1.png") as source:
        (frame,) = source
        assert frame.image.dtype == np.uint8


def test_time_limits_in_a_uri_override_the_settings(monkeypatch):
    asked = {}

    class Camera:
        def __init__(self, device, **options):
            asked.update(options)

    monkeypatch.setattr(opening_module, "CameraSource", Camera)
    config = load_settings(RunConfig, [], ["source.reopen=null", "source.lost=7", "source.triggered=true"]).source
    open_source("0?lost=9", config.patience(), triggered=config.triggered)
    assert asked["patience"] == Patience(reopen=math.inf, lost=9, silent=math.inf)
    assert asked["triggered"] is True
    open_source("0?triggered=0", config.patience(), triggered=config.triggered)
    assert asked["patience"].lost == 7
    assert asked["triggered"] is False


def test_opening_a_camera_that_is_not_there():
    missing = next(n for n in range(999, 0, -1) if not Path(f"/dev/video{n}").exists())
    source = open_source(f"{missing}?lost=0")
    assert isinstance(source, CameraSource)
    assert source.live
    with source, pytest.raises(InputError, match=f"a camera at /dev/video{missing}"):
        next(iter(source))


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("no.mp4", "no file no.mp4"),
        ("no/", "nothing named no"),
        ("no*.png", "nothing named no"),
        ("x" * 300 + ".mp4", "no file x"),
        ("x" * 300 + ".png", "name too long"),
    ],
)
def test_missing_files_are_refused_when_opening(uri, words):
    with pytest.raises(InputError) as caught:
        open_source(uri)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "triggered", "steady"),
    [
        ("0", False, True),
        ("0", True, False),
        ("0?triggered=1", False, False),
        ("0?triggered=0", True, True),
        ("a.mp4", False, False),
        ("a.mp4?live=1", False, True),
    ],
)
def test_frames_are_expected_of_live_sources_that_nothing_triggers(uri, triggered, steady):
    assert is_steady(uri, triggered=triggered) is steady
