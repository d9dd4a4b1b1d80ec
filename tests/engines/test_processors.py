"""Processors that a process may use: affinity, and the quotas of control groups of both versions."""

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import UserError
from engines.processors import cpu_quota, thread_count, usable_processors

UNLIMITED = {1: "-1", 2: "max"}


@pytest.fixture
def machine(tmp_path):
    """Makes a tree with ``proc`` and ``sys``: control groups by folder, each with its quota in processors or none."""

    def make(version, path, quotas, *, top=None):
        number = "0::" if version == 2 else "4:cpu,cpuacct:"
        proc = tmp_path / "proc" / "self"
        proc.mkdir(parents=True)
        (proc / "cgroup").write_text(f"5:memory:/elsewhere\n{number}{path}\n3:pids:/\n")
        mount = tmp_path / "sys/fs/cgroup" / ({1: "cpu,cpuacct", 2: ""}[version] if top is None else top)
        for folder, quota in quotas.items():
            group = mount / folder
            group.mkdir(parents=True, exist_ok=True)
            written = UNLIMITED[version] if quota is None else str(round(quota * 100_000))
            if version == 2:
                (group / "cpu.max").write_text(f"{written} 100000\n")
            else:
                (group / "cpu.cfs_quota_us").write_text(f"{written}\n")
                (group / "cpu.cfs_period_us").write_text("100000\n")
        return tmp_path

    return make


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("path", "quotas", "expected"),
    [
        ("/", {".": 1.5}, 1.5),
        ("/", {".": None}, None),
        ("/", {}, None),
        ("/a/b", {"a/b": 3, "a": None}, 3),
        ("/a/b", {"a/b": 3, "a": 2}, 2),
        ("/a/b", {"a/b": None, "a": 0.5, ".": 4}, 0.5),
        # Docker shows the host's path, and mounts the container's own group as the root.
        ("/docker/0123", {".": 2.5}, 2.5),
        # Above the root of a namespace.
        ("/../other", {".": 2}, 2),
    ],
)
def test_the_smallest_quota_of_the_group_and_those_above_it_counts(machine, version, path, quotas, expected):
    assert cpu_quota(machine(version, path, quotas)) == expected


@pytest.mark.parametrize(("version", "top"), [(1, "cpu"), (2, "unified")])
def test_other_places_of_the_hierarchy(machine, version, top):
    assert cpu_quota(machine(version, "/a", {"a": 1}, top=top)) == 1


def test_groups_of_other_processes_and_a_machine_without_any_do_not_count(machine, tmp_path):
    assert cpu_quota(tmp_path / "nothing") is None
    assert cpu_quota(machine(2, "/a", {"b": 1, "a": None})) is None


@pytest.mark.parametrize("text", ["", "x y", "100000", "100000 0", "-5 100000", "100000 100000 1"])
def test_a_file_that_is_not_understood_is_no_limit(machine, text):
    root = machine(2, "/", {".": 1})
    (root / "sys/fs/cgroup/cpu.max").write_text(text)
    assert cpu_quota(root) is None


@given(quota=st.floats(0.001, 1000), allowed=st.integers(1, 64))
def test_processors_are_those_of_the_affinity_within_the_quota_rounded_up(quota, allowed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)))
        patch.setattr("engines.processors.cpu_quota", lambda _: quota)
        found = usable_processors()
        assert found == min(allowed, math.ceil(quota))
        assert found >= 1
        patch.setattr("engines.processors.cpu_quota", lambda _: None)
        assert usable_processors() == allowed


def test_threads_are_what_may_be_used_or_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("engines.processors.usable_processors", lambda: 3)
    assert thread_count() == 3
    assert [thread_count(asked) for asked in (1, 5, 8)] == [1, 5, 8]


@pytest.mark.parametrize("asked", [0, -1, 9, 100_000])
def test_more_threads_than_processors_are_refused(monkeypatch, asked):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    with pytest.raises(UserError) as reported:
        thread_count(asked)
    assert reported.value.expected.startswith("1 to 8 threads")
    assert reported.value.found == str(asked)
    assert reported.value.exit_code == 2
