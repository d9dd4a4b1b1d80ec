"""Plans on disk: what is trusted, what is not and why, and what happens to it."""

import json
import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import EngineUnavailable
from engines.tensorrt.plan import SCHEMA, Plan, PlanKey, PlanRejected, Platform, describe, verify_plan
from engines.tensorrt.plan_cache import PlanCache

KEY = PlanKey("a" * 64, "fp16", (256, 256), (1200, 1920))
ORIN = Platform("10.3.0", "Orin", "8.7", 16, 12060, "36.4.3", "2")
PLAN = Plan(b"\0plan" * 100, {"build_seconds": 9.5})


@pytest.fixture
def cache(tmp_path):
    cache = PlanCache(tmp_path / "engines")
    cache.require_writable()
    return cache


def the(cache, suffix):
    (path,) = cache.folder.glob(f"*.{suffix}")
    return path


def test_what_is_stored_is_found(cache):
    assert cache.look(KEY, ORIN) is None
    cache.store(KEY, ORIN, PLAN)
    assert cache.look(KEY, ORIN) == PLAN
    assert json.loads(the(cache, "json").read_text())["platform"]["power_mode"] == "2"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert PlanCache(tmp_path / "none").look(KEY, ORIN) is None


@pytest.mark.parametrize("change", [{"graph": "b" * 64}, {"max_frame": (480, 640)}, {"precision": "fp32"}])
def test_other_keys_have_files_of_their_own(cache, change):
    other = replace(KEY, **change)
    cache.store(KEY, ORIN, PLAN)
    assert cache.look(other, ORIN) is None
    cache.store(other, ORIN, Plan(b"other", {}))
    assert cache.look(KEY, ORIN) == PLAN


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tensorrt": "10.16.1.11"}, "built with tensorrt 10.3.0, and here is 10.16.1.11"),
        ({"gpu": "Thor", "capability": "11.0"}, "built with gpu Orin, and here is Thor"),
        ({"multiprocessors": 8}, "built with multiprocessors 16"),
        ({"power_mode": None}, "built with power mode 2, and here is None"),
    ],
)
def test_a_plan_of_another_machine_is_rejected(cache, change, reason):
    cache.store(KEY, ORIN, PLAN)
    with pytest.raises(PlanRejected, match=reason):
        cache.look(KEY, replace(ORIN, **change))


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: the(cache, "plan").write_bytes(PLAN.data[:-1] + b"!"),
        lambda cache: the(cache, "plan").write_bytes(b""),
        lambda cache: the(cache, "plan").unlink(),
        lambda cache: the(cache, "json").unlink(),
        lambda cache: the(cache, "json").write_text("{"),
        lambda cache: the(cache, "json").write_text("[]"),
        lambda cache: the(cache, "json").write_text(f'{{"schema": {SCHEMA}, "platform": 3}}'),
        lambda cache: the(cache, "json").write_bytes(b" " * (1 << 17)),
        lambda cache: the(cache, "json").write_text('{"schema": 1, "machine": {}}'),
    ],
)
def test_damage_is_rejected_and_put_away(cache, damage):
    cache.store(KEY, ORIN, PLAN)
    damage(cache)
    with pytest.raises(PlanRejected):
        cache.look(KEY, ORIN)
    folder = cache.quarantine(KEY)
    assert any(folder.iterdir())
    assert cache.look(KEY, ORIN) is None


@given(place=st.integers(0, len(PLAN.data) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_is_trusted(place, bit):
    data = bytearray(PLAN.data)
    data[place] ^= 1 << bit
    with pytest.raises(PlanRejected, match="bytes"):
        verify_plan(describe(KEY, ORIN, PLAN), bytes(data), ORIN)


def test_a_kill_between_the_two_files_leaves_nothing_that_is_trusted(cache, monkeypatch):
    cache.store(KEY, ORIN, PLAN)
    real, writes = os.replace, []

    def killed_after_the_plan(source, target):
        writes.append(target)
        if len(writes) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr("pathlib.Path.replace", killed_after_the_plan)
    with pytest.raises(KeyboardInterrupt):
        cache.store(KEY, ORIN, Plan(b"newer", {}))
    monkeypatch.undo()
    assert [path.suffix for path in writes] == [".plan", ".json"]
    with pytest.raises(PlanRejected):
        cache.look(KEY, ORIN)
    assert not list(cache.folder.glob(".*.part"))


def test_leftovers_of_a_killed_process_are_swept(cache):
    (cache.folder / f".{KEY.name}.plan.abc.part").write_bytes(b"half")
    cache.store(KEY, ORIN, PLAN)
    assert not list(cache.folder.glob(".*.part"))


def test_files_of_others_in_the_folder_stay(cache):
    """The folder is the user's choice, and may be one that holds something."""
    (cache.folder / "quarantine").mkdir()
    mine = [
        ".download.part",
        ".x.plan.abc.part",
        "floor.plan",
        "floor.json",
        "quarantine/floor.plan",
        "quarantine/a-1.b",
    ]
    for name in mine:
        (cache.folder / name).write_text("mine")
        os.utime(cache.folder / name, (0, 0))
    for i in range(20):
        cache.store(replace(KEY, graph=f"{i:064}"), ORIN, PLAN)
    for _ in range(6):
        cache.store(KEY, ORIN, PLAN)
        cache.quarantine(KEY)
    assert {(cache.folder / name).read_text() for name in mine} == {"mine"}


def test_the_quarantine_and_the_cache_are_bounded(cache):
    for i in range(7):
        cache.store(KEY, ORIN, Plan(bytes([i]), {}))
        folder = cache.quarantine(KEY)
    assert sorted(path.read_bytes()[0] for path in folder.glob("*.plan")) == [3, 4, 5, 6]
    keys = [replace(KEY, graph=f"{i:064}") for i in range(18)]
    for age, key in enumerate(keys[:16]):
        cache.store(key, ORIN, PLAN)
        cache.keep_layers(key, "{}")
        os.utime(cache.folder / f"{key.name}.plan", (age, age))
    assert cache.look(keys[0], ORIN) == PLAN  # used: now the newest
    for key in keys[16:]:
        cache.store(key, ORIN, PLAN)
    kept = {path.stem for path in cache.folder.glob("*.json")}
    assert kept == {key.name for key in keys if key not in keys[1:3]}
    assert {path.stem for path in cache.folder.glob("*.plan")} == kept
    assert len(list(cache.folder.glob("*.layers"))) == 14


def test_the_folder_is_made_for_its_owner_alone(tmp_path):
    cache = PlanCache(tmp_path / "cache" / "engines")
    cache.require_writable()
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert not list(cache.folder.iterdir())


def test_a_folder_that_others_may_write_to_is_refused(cache):
    cache.store(KEY, ORIN, PLAN)
    cache.folder.chmod(0o777)
    for call in (cache.require_writable, lambda: cache.look(KEY, ORIN)):
        with pytest.raises(EngineUnavailable, match="chmod o-w"):
            call()


def test_a_folder_of_another_user_is_refused(cache, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr("engines.tensorrt.plan_cache._ROOT", -1)
    with pytest.raises(EngineUnavailable, match="others may write"):
        cache.require_writable()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineUnavailable, match=r"engine\.cache in --config") as caught:
        PlanCache(tmp_path / "file" / "engines").require_writable()
    assert caught.value.exit_code == 4


def test_a_full_disk_is_reported_before_the_build(cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5 << 20))
    with pytest.raises(EngineUnavailable, match="5 MiB"):
        cache.require_writable()


def test_a_second_builder_waits_and_says_so(cache):
    reported, held, done = threading.Event(), threading.Event(), []

    def second():
        held.wait()
        with cache.lock(reported.set):
            done.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with cache.lock(lambda: pytest.fail("nobody else holds it")):
        held.set()
        assert reported.wait(60)
        done.append("first")
    thread.join()
    assert done == ["first", "second"]


def test_timings_belong_to_a_gpu_and_a_version(cache):
    assert cache.timings(ORIN) == b""
    cache.keep_timings(ORIN, b"fast")
    assert cache.timings(replace(ORIN, power_mode="0", driver=13020)) == b"fast"
    assert cache.timings(replace(ORIN, tensorrt="10.7.0")) == b""
