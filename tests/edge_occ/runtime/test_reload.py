"""Settings and bundle are exchanged while the inspection goes on."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import ExitStack

import pytest
from reload_helpers import another, wait_for

from edge_occ.common.errors import InputError
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.runtime import model as model_module
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.control import Control
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.model import open_engine, read_model
from edge_occ.runtime.plan import CameraPlan
from edge_occ.runtime.reload import Reloader, ReloadRequests
from edge_occ.runtime.scheduler import Scheduler

LONG = 60.0


class Engines:
    """All engines that were opened: in which thread, frames scored, times closed."""

    def __init__(self, monkeypatch, name=None):
        self.threads, self.frames, self.closed, self.fails = [], [], [], None
        self._load, self._name, self._monkeypatch = model_module.load_engine, name, monkeypatch
        monkeypatch.setattr(model_module, "load_engine", self.load)

    def load(self, *arguments, **options):
        if self.fails is not None:
            raise self.fails
        loaded = self._load(*arguments, **options)
        number, engine = len(self.threads), loaded.engine
        self.threads.append(threading.current_thread())
        self.frames.append(0)
        self.closed.append(0)
        infer, close = engine.infer, engine.close

        def counted(frame):
            assert not self.closed[number], "a closed engine was asked for scores"
            self.frames[number] += 1
            return infer(frame)

        def counted_close():
            self.closed[number] += 1
            close()

        self._monkeypatch.setattr(engine, "infer", counted)
        self._monkeypatch.setattr(engine, "close", counted_close)
        if self._name is not None:
            self._monkeypatch.setattr(engine, "name", self._name)
        return loaded


class Line:
    """A station's parts, inspecting pictures without an end in a thread of its own; a context manager."""

    def __init__(self, bundle, pictures, cameras=("",), **settings):
        self.bundle, self.cameras, self.lines = bundle, cameras, []
        self.config = RunConfig.model_validate({"engine": {"name": "cpu"}, **settings})
        self.read, self.heartbeats = self._read, []
        self.address = f"{pictures}?loop=1&fps=100"
        self.requests = ReloadRequests()
        self.opened = []
        self._ready, self._closing = threading.Event(), threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._inspect)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(LONG)
        return self

    def __exit__(self, *_):
        self.end()
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def end(self):
        for camera in self.opened:
            camera.source.close()

    def _read_now(self):
        return self.read()

    def _read(self):
        return self.config, *read_model(self.bundle, None, self.config.decision)

    def _inspect(self):
        try:
            config, model, bundle = self._read()
            with ExitStack() as stack:
                heartbeat = Heartbeat([lambda: self.heartbeats.append(threading.current_thread())])
                plan = CameraPlan(
                    config, None, True, len(self.cameras) == 1, heartbeat, self.lines.append, CommandService(())
                )
                addresses = {name: self.address if name != "dead" else "v4l2:///dev/video99" for name in self.cameras}
                self.opened = [Camera(name, address, plan, model, stack) for name, address in addresses.items()]
                loaded = open_engine(bundle, config.engine, (), self.lines.append)
                lanes = [camera.lane(model, loaded) for camera in self.opened]
                control = Control()
                reloader = Reloader(self.requests, self._read_now, config, model, loaded, self.opened, control,
                                    heartbeat, self.lines.append)  # fmt: skip
                stack.callback(reloader.close)
                stack.callback(self._closing.set)
                for camera in self.opened:
                    stack.enter_context(camera.source)
                self.inspectors = [lane.inspector for lane in lanes]
                self._ready.set()
                Scheduler(lanes, control).run()
        except Exception as error:  # noqa: BLE001 - raised again in the test
            self._error = error
        finally:
            self._ready.set()

    def wait_for(self, text, count=1):
        wait_for(lambda: sum(text in line for line in self.lines) >= count, lambda: f"{text!r} in {self.lines}")

    def wait_for_frames(self, more=5):
        """Wait until each camera has inspected some more."""
        wanted = [inspector.frames + more for inspector in self.inspectors]
        wait_for(
            lambda: all(i.frames >= n for i, n in zip(self.inspectors, wanted, strict=True)), lambda: "more frames"
        )


def scores(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_new_bundle_is_used_without_a_lost_frame(bundle, pictures, monkeypatch, capsys):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures) as line:
        line.wait_for_frames()
        another(bundle, bundle)
        line.requests.put()
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
        assert engines.closed == [1, 0]
    assert engines.closed == [1, 1]
    assert all(engines.frames)
    frames = [score["frame"] for score in scores(capsys)]
    assert frames == list(range(sum(engines.frames)))


def test_the_same_bundle_is_not_opened_again(bundle, pictures, monkeypatch):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures) as line:
        line.requests.put()
        line.wait_for("reloaded line.occ")
    assert engines.closed == [1]


def test_a_bundle_that_is_refused_leaves_the_old_one(bundle, pictures, monkeypatch):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures) as line:
        whole = bundle.read_bytes()
        bundle.with_suffix(".new").write_bytes(whole[: len(whole) // 2])
        bundle.with_suffix(".new").replace(bundle)
        line.requests.put()
        line.wait_for("reload refused, the inspection goes on as before")
        line.wait_for_frames()
        bundle.unlink()
        line.requests.put()
        line.wait_for("no such file")
        line.wait_for_frames()
    assert engines.closed == [1]


def test_an_engine_that_fails_leaves_the_old_one_and_the_next_reload_is_done(bundle, pictures, monkeypatch):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures) as line:
        another(bundle, bundle)
        engines.fails = MemoryError("no room for the engine")
        line.requests.put()
        line.wait_for("reload failed, the inspection goes on as before: MemoryError")
        line.wait_for_frames()
        engines.fails = None
        line.requests.put()
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
    assert engines.closed == [1, 1]


def test_changed_settings_take_effect_and_those_of_the_start_are_named(bundle, pictures, capsys):
    with Line(bundle, pictures) as line:
        line.wait_for_frames()
        changed = {"decision": {"reject_rate": 0.3}, "source": {"lost": 60}}
        line.config = RunConfig.model_validate({"engine": {"name": "cpu"}, **changed})
        line.requests.put()
        line.wait_for("changed settings that take effect at the next start: source")
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
        expected = read_model(bundle, None, line.config.decision)[0].decision.reject.threshold
    thresholds = list(dict.fromkeys(score["threshold"] for score in scores(capsys)))
    assert len(thresholds) == 2
    assert thresholds[1] == expected


def test_a_reload_reads_the_mask_again_and_refuses_a_wrong_one(bundle, pictures, tmp_path, capsys):
    """The score falls to the highest value of the map inside; a reload before any frame knows no size."""
    mask = tmp_path / "mask.json"
    whole, corner = [[0, 0], [112, 0], [112, 112], [0, 112]], [[0, 100], [12, 100], [12, 112], [0, 112]]
    mask.write_text(json.dumps({"inspect": [whole]}))
    with Line(bundle, pictures, mask=str(mask)) as line:
        line.wait_for_frames()
        mask.write_text(json.dumps({"inspect": [corner]}))
        line.requests.put()
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
        wrong = {
            "inspect.0": {"inspect": [whole[:2]]},
            "nothing in": {"ignore": [whole]},
            "(113, 0)": {"ignore": [[[0, 0], [113, 0], [0, 9]]]},
        }
        for said, content in wrong.items():
            mask.write_text(json.dumps(content))
            line.requests.put()
            line.wait_for(said)
            line.wait_for_frames()
        line.config = RunConfig.model_validate({"engine": {"name": "cpu"}, "mask": None})
        line.requests.put()
        line.wait_for("reloaded line.occ", count=2)
        line.wait_for_frames()
    assert sum("reload refused, the inspection goes on as before" in text for text in line.lines) == 3
    found = [(score["name"], score["score"]) for score in scores(capsys)]
    seen = [sorted({score for at, score in found if at == name}) for name in ("0.png", "1.png", "2.png")]
    assert all(len(each) == 2 for each in seen), "the whole frame, and its corner"
    masked = [score in [each[0] for each in seen] for _, score in found]
    assert [key for key, _ in itertools.groupby(masked)] == [False, True, False]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("settings", "no YAML", "mend it"), "reload refused"),
        (PermissionError(13, "Permission denied"), "reload failed"),
    ],
)
def test_settings_that_cannot_be_read_leave_the_old_ones(bundle, pictures, error, said):
    def fail():
        raise error

    with Line(bundle, pictures) as line:
        line.read = fail
        line.requests.put()
        line.wait_for(f"{said}, the inspection goes on as before")
        line.wait_for_frames()
        line.read = line._read
        line.requests.put()
        line.wait_for("reloaded line.occ")


def test_several_cameras_change_together_and_a_dead_one_keeps_none_waiting(bundle, pictures, monkeypatch, capfd):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures, cameras=("left", "right", "dead")) as line:
        line.inspectors.pop()
        line.wait_for_frames()
        another(bundle, bundle)
        line.requests.put()
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
    assert engines.closed == [1, 1]
    found = scores(capfd)
    for camera in ("left", "right"):
        frames = [score["frame"] for score in found if score["camera"] == camera]
        assert frames == list(range(len(frames)))
    assert {score["camera"] for score in found} == {"left", "right"}


def test_where_one_camera_refuses_all_go_on_as_before(bundle, pictures, monkeypatch, capsys):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures, cameras=("left", "right")) as line:
        use = line.opened[1].use

        def refuse(config, view, model, loaded):
            if config is not line.config:
                use(config, view, model, loaded)
            else:
                raise ValueError("no such guard")

        monkeypatch.setattr(line.opened[1], "use", refuse)
        another(bundle, bundle)
        line.config = RunConfig.model_validate({"engine": {"name": "cpu"}, "decision": {"reject_rate": 0.3}})
        line.requests.put()
        line.wait_for("reload failed, the inspection goes on as before: ValueError: no such guard")
        line.wait_for_frames()
        assert engines.closed == [0, 1]
    assert engines.closed == [1, 1]
    capsys.readouterr()


def test_the_end_of_the_run_gives_up_a_reload_under_way(bundle, pictures, monkeypatch):
    engines = Engines(monkeypatch)
    with Line(bundle, pictures) as line:
        another(bundle, bundle)
        reads = threading.Event()

        def read():
            reads.set()
            assert line._closing.wait(LONG)
            return line._read()

        line.read = read
        line.requests.put()
        assert reads.wait(LONG)
        line.end()
    assert engines.closed == [1, 1]
    assert not any("reload" in text for text in line.lines)


def test_an_engine_of_one_thread_is_opened_in_the_inspecting_thread_with_signs_of_life(bundle, pictures, monkeypatch):
    """A watchdog of a minute would end the process while TensorRT builds."""
    engines = Engines(monkeypatch, name="tensorrt")
    load = engines.load

    def slow_load(*arguments, **options):
        if engines.threads:
            wait_for(lambda: any("heartbeat" in t.name for t in line.heartbeats), lambda: "a sign of life")
        return load(*arguments, **options)

    monkeypatch.setattr(model_module, "load_engine", slow_load)
    with Line(bundle, pictures) as line:
        line.wait_for_frames()
        another(bundle, bundle)
        line.requests.put()
        line.wait_for("reloaded line.occ")
        line.wait_for_frames()
    assert engines.threads == [line._thread] * 2
    assert engines.closed == [1, 1]


def test_the_engine_stays_the_one_of_the_start(bundle, pictures, monkeypatch):
    """One of another kind would be opened in a thread that is not its own."""
    engines = Engines(monkeypatch)
    with Line(bundle, pictures, engine={"name": "auto"}) as line:
        another(bundle, bundle)
        line.config = RunConfig.model_validate({"engine": {"name": "tensorrt"}})
        line.requests.put()
        line.wait_for("take effect at the next start: engine")
        line.wait_for("reloaded line.occ: engine cpu ")
    assert len(engines.threads) == 2


def test_a_bundle_of_pictures_with_another_white_is_refused(bundle, pictures):
    """The source was opened for the white of the first one, and every score would be wrong."""
    with Line(bundle, pictures) as line:
        another(bundle, bundle, white=4095)
        line.requests.put()
        line.wait_for("reload refused")
        line.wait_for("white level")
        line.wait_for_frames()


def test_requests_that_come_during_a_reload_are_answered_by_one_more():
    requests = ReloadRequests()
    for _ in range(5):
        requests.put()
    assert requests.wait()
    requests.put()
    assert requests.wait()
    requests.put()
    requests.end()
    assert not requests.wait()
