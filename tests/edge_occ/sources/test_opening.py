"""Cameras behind addresses: a real RTSP server, and the pipeline of a CSI camera."""

from __future__ import annotations

import logging
import math

import cv2
import pytest
from mqtt_helpers import free_port
from rtsp_server import RtspServer, missing

import edge_occ.sources.opening as opening_module
from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.camera import CameraSource
from edge_occ.sources.capture import csi_pipeline, has_gstreamer
from edge_occ.sources.opening import PASSWORD, USERNAME, open_source

needs_server = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    monkeypatch.delenv(USERNAME, raising=False)
    monkeypatch.delenv(PASSWORD, raising=False)


def take(source, count):
    frames = []
    for item in source:
        frames.append(item)
        if len(frames) == count:
            break
    return frames


@needs_server
def test_frames_of_a_network_camera():
    with RtspServer(free_port()) as server, open_source(server.url) as source:
        frames = take(source, 5)
    assert source.live
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert [frame.captured_monotonic for frame in frames] == sorted(frame.captured_monotonic for frame in frames)


@needs_server
def test_a_network_camera_that_restarts_is_opened_again(caplog):
    port = free_port()
    server = RtspServer(port).__enter__()
    try:
        with open_source(f"{server.url}?lost=60") as source:
            (first,) = take(source, 1)
            server.stop()
            server = RtspServer(port).__enter__()
            later = next(frame for frame in source if frame.captured_monotonic > first.captured_monotonic + 1)
    finally:
        server.stop()
    assert later.index > first.index
    assert later.image.shape == first.image.shape


@needs_server
def test_credentials_come_from_the_environment_or_the_address_and_are_never_printed(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with RtspServer(free_port(), ("inspector", "s3cret/@:")) as server:
        with open_source(f"{server.url}?lost=0") as source, pytest.raises(InputError) as caught:
            next(iter(source))
        assert USERNAME in caught.value.advice
        monkeypatch.setenv(USERNAME, "inspector")
        monkeypatch.setenv(PASSWORD, "s3cret/@:")
        with open_source(server.url) as source:
            assert take(source, 1)[0].image.shape == (120, 160, 3)
        monkeypatch.setenv(PASSWORD, "wr0ng")
        with open_source(f"{server.url}?lost=0") as source, pytest.raises(InputError) as caught:
            next(iter(source))
    assert "s3cret" not in caplog.text + str(caught.value)
    assert "wr0ng" not in caplog.text + str(caught.value)


@needs_server
def test_a_network_camera_that_is_gone_is_lost():
    with RtspServer(free_port()) as server, open_source(f"{server.url}?lost=0.5") as source:
        take(source, 1)
        server.stop()
        with pytest.raises(SourceLost) as caught:
            list(source)
    assert caught.value.expected == f"frames from {server.url}"


def test_an_absent_network_camera_is_an_error_without_its_password():
    address = f"rtsp://user:s3cret@127.0.0.1:{free_port()}/line?lost=0"
    with open_source(address) as source, pytest.raises(InputError) as caught:
        next(iter(source))
    assert "rtsp://127.0.0.1" in caught.value.expected
    assert "s3cret" not in str(caught.value)


def test_a_csi_camera_needs_an_opencv_with_gstreamer(monkeypatch):
    monkeypatch.setattr(opening_module, "has_gstreamer", lambda: False)
    with pytest.raises(InputError) as caught:
        open_source("csi://0")
    assert caught.value.expected == "an OpenCV with GStreamer, for csi://0"
    assert "JetPack" in caught.value.advice


def test_gstreamer_is_read_from_the_build_information(monkeypatch):
    for line, there in (("    GStreamer:                   YES (1.20.3)", True), ("    GStreamer:      NO", False)):
        monkeypatch.setattr(cv2, "getBuildInformation", lambda line=line: f"  Video I/O:\n{line}\n    v4l/v4l2: YES\n")
        assert has_gstreamer() is there


def test_the_pipeline_of_a_csi_camera_scales_on_the_vic_and_keeps_the_latest_frame():
    assert csi_pipeline(1, 640, 480, 59.94) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),framerate=59940/1000 ! nvvidconv ! "
        "video/x-raw,format=BGRx,width=640,height=480 ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=1 max-buffers=1 sync=0"
    )
    assert "framerate" not in csi_pipeline(0)
    assert "width" not in csi_pipeline(0)


def test_a_csi_camera_is_opened_by_its_pipeline(monkeypatch):
    opened = []
    monkeypatch.setattr(opening_module, "has_gstreamer", lambda: True)
    monkeypatch.setattr(opening_module, "open_csi", lambda pipeline: opened.append(pipeline) or cv2.VideoCapture())
    with open_source("csi://1?width=640&height=480&fps=30&lost=0") as source:
        assert isinstance(source, CameraSource)
        with pytest.raises(InputError, match="nvargus-daemon"):
            next(iter(source))
    assert set(opened) == {csi_pipeline(1, 640, 480, 30.0)}


def test_a_v4l2_camera_is_asked_for_its_format_first(monkeypatch):
    asked = {}

    class Camera:
        def __init__(self, device, **options):
            asked.update(options)

    monkeypatch.setattr(opening_module, "CameraSource", Camera)
    open_source("0?fps=30&height=1080&width=1920")
    assert list(asked["requested"].items()) == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1920),
        (cv2.CAP_PROP_FRAME_HEIGHT, 1080),
        (cv2.CAP_PROP_FPS, 30),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]


@pytest.mark.parametrize(("uri", "limit"), [("0", opening_module.HANG_SECONDS), ("0?triggered=1", math.inf)])
def test_a_read_that_waits_for_a_trigger_does_not_hang(uri, limit, monkeypatch):
    limits = []
    monkeypatch.setattr(opening_module, "HangingOpener", lambda opener, seconds: limits.append(seconds) or opener)
    open_source(uri)
    assert limits == [limit]
