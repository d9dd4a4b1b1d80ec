"""``edge-occ events`` on lines as a run prints them."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from mqtt_helpers import inspection
from typer.testing import CliRunner

from edge_occ.cli import app
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.sources.faults import Fault, Reason, Unscored

NOW = datetime(2026, 11, 29, 10, 23, 31, tzinfo=timezone.utc)


def events(*arguments):
    return CliRunner().invoke(app, ["events", *map(str, arguments)])


@pytest.fixture
def recording(tmp_path, capsys):
    """Writes what a run prints; a frame every 0.1 s, and a second between parts of five frames."""

    def write(scores, camera=""):
        sink = JsonLinesSink(camera=camera)
        for index, score in enumerate(scores):
            shown = inspection(index, score)
            moment = NOW + timedelta(seconds=0.1 * index + index // 5)
            sink.publish(replace(shown, frame=replace(shown.frame, captured_at=moment)))
        path = tmp_path / f"{camera or 'good'}.jsonl"
        path.write_text(capsys.readouterr().out)
        return path

    return write


def three_alike(count):
    """Parts of five frames; in every hundredth part three frames are anomalous."""
    return [2.0 if frame // 5 % 100 == 50 and frame % 5 < 3 else 0.5 for frame in range(5 * count)]


def test_the_smallest_k_for_a_rate_is_named(recording):
    path = recording(three_alike(400))
    result = events(path, "--set", "event.k=2", "--set", "event.n=5", "--per-thousand", "1.6", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["frames"], report["faults"], report["event"]["k"], report["smallest_k"]) == (2000, 0, 2, 4)
    assert report["per_1000_frames"] == pytest.approx(2, rel=0.2), "an event for each of four parts"
    assert report["upper_95"] > 3
    assert "2 of 5: " in result.stderr
    assert "smallest k for a bound of at most 1.6: 4 of 5: 0 false events" in result.stderr


def test_a_rate_that_no_k_reaches_is_said(recording):
    result = events(recording(three_alike(100)), "--per-thousand", "0.1")
    assert result.exit_code == 0, result.stderr
    assert "no k up to event.n=1 has a bound of at most 0.1: record more frames" in result.stderr


def test_an_event_ends_with_its_part(recording):
    path = recording([2.0] * 500)
    rates = [
        json.loads(events(path, "--json", *options).stdout)["per_1000_frames"]
        for options in ((), ("--set", "event.part_gap=0.5"))
    ]
    assert rates[0] == 2
    assert 200 <= rates[1] <= 220


def test_faults_are_counted_and_passed_over(recording, capsys):
    path = recording([0.5] * 200)
    JsonLinesSink().fault(Fault(7, NOW, Unscored(Reason.BLACK, "dark")))
    with path.open("a") as file:
        file.write(capsys.readouterr().out)
    report = json.loads(events(path, "--json").stdout)
    assert (report["frames"], report["faults"]) == (200, 1)


def refused(*arguments, words):
    result = events(*arguments)
    assert result.exit_code == 2, result.stderr
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["expected", "found", "next"]
    for word in words:
        assert word in result.stderr


def test_what_is_no_recording_is_refused(recording, tmp_path):
    path = recording([0.5] * 60)
    refused(path, words=["at least two blocks", "60 scores"])
    refused(path, "--block", "2", "--set", "event.n=3", words=["at least 3 frames"])
    refused(path, "--per-thousand", "0", words=["a rate above 0"])
    refused(tmp_path / "none.jsonl", words=["No such file"])
    (tmp_path / "empty.jsonl").write_text("")
    refused(tmp_path / "empty.jsonl", words=["scores of good parts", "none"])
    (tmp_path / "other.jsonl").write_text(path.read_text() + "{\n")
    refused(tmp_path / "other.jsonl", words=["line 61 of"])
    (tmp_path / "both.jsonl").write_text(recording([0.5], "left").read_text() + recording([0.5], "right").read_text())
    refused(tmp_path / "both.jsonl", words=["one camera", "left, right"])
