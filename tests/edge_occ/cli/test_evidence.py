"""``edge-occ run`` with an evidence folder: what lies on disk, what the messages say, what happens without room."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest
from mqtt_helpers import Ear, payloads, wait_until
from typer.testing import CliRunner

from edge_occ.cli import app

pytestmark = pytest.mark.long

PARTS = ("frame.png", "heatmap.jpg", "record.json")


@pytest.fixture
def device():
    return f"d{uuid4().hex[:8]}"


@pytest.fixture
def ear(broker, device):
    with Ear(broker.port, f"edge-occ/{device}/#") as listener:
        yield listener


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "evidence"


def command(bundle, source, folder, *options):
    run = [sys.executable, "-m", "edge_occ", "run", "--bundle", str(bundle), "--source", str(source)]
    return [*run, "--set", "engine.name=cpu", "--set", f"evidence.folder={folder}", *map(str, options)]


def run(*arguments):
    """The command in this process, for what no process of its own is needed to see."""
    return edge_occ(*command(*arguments)[3:])


def edge_occ(*arguments):
    return CliRunner().invoke(app, arguments)


def publishing(broker, device):
    return ["--set", f"mqtt.broker={broker.url}", "--set", f"mqtt.device={device}"]


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def has_record(folder):
    """Return whether the evidence of a start is there; folders come and go meanwhile, which os.walk does not mind."""
    return any("record.json" in files and Path(at).name.startswith("start-") for at, _, files in os.walk(folder))


def test_events_name_the_evidence_that_is_there_after_the_run(tiny_bundle, tiny_data, folder, broker, device, ear):
    source = tiny_data / "test" / "spot"
    done = run(tiny_bundle, source, folder, *publishing(broker, device))
    assert done.exit_code == 0, done.stderr
    ear.wait_for_state("offline")
    events = payloads(ear.of("event"))
    assert [event["phase"] for event in events][:: len(events) - 1] == ["start", "end"]
    start, end = events[0], events[-1]
    for event in (start, end):
        assert all((folder / event[f"evidence_{part}"]).is_file() for part in ("frame", "heatmap", "record"))
        record = json.loads((folder / event["evidence_record"]).read_bytes())
        assert {key: record[key] for key in event.keys() & record.keys() - {"schema"}} == {
            key: event[key] for key in event.keys() & record.keys() - {"schema"}
        }
        assert record["bundle"] == tiny_bundle.name
    kept = cv2.imread(str(folder / start["evidence_frame"]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(kept, cv2.imread(str(source / start["name"]))), "the pixels that were scored"
    heatmap = cv2.imread(str(folder / start["evidence_heatmap"]))
    assert heatmap.shape == kept.shape
    assert np.abs(heatmap.astype(int) - kept).max() > 20, "there is colour over the frame"
    peak = json.loads((folder / end["evidence_frame"]).with_name("record.json").read_bytes())
    assert peak["peak"] == end["peak"] == peak["score"]
    assert len(files(folder)) <= 7
    assert payloads(ear.of("stats"))[-1]["evidence_lost"] == 0


def test_without_a_folder_messages_name_none_and_nothing_is_written(
    tiny_bundle, tiny_data, broker, device, ear, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = run(tiny_bundle, tiny_data / "test" / "spot", "null", *publishing(broker, device))
    assert done.exit_code == 0, done.stderr
    ear.wait_for_state("offline")
    assert {event[key] for event in payloads(ear.of("event")) for key in event if key.startswith("evidence_")} == {""}
    assert list(tmp_path.iterdir()) == []


def test_it_is_set_in_the_configuration_too(tiny_bundle, tiny_data, folder, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"engine: {{name: cpu}}\nevidence: {{folder: {folder}, format: jpeg, max_mb: 5, max_days: 1}}\n")
    source = ["--source", str(tiny_data / "test" / "spot"), "--config", str(config), "--set", "mqtt.camera=a b"]
    done = edge_occ("run", "--bundle", str(tiny_bundle), "--no-mqtt", *source)
    assert done.exit_code == 0, done.stderr
    (camera,) = folder.iterdir()
    assert camera.name.startswith("a_b~")
    assert "frame.jpg" in {path.name for path in files(camera)}


def test_good_parts_and_frames_that_cannot_be_inspected_leave_nothing(tiny_bundle, tmp_path, folder):
    line = tmp_path / "line"
    line.mkdir()
    cv2.imwrite(str(line / "0.png"), np.zeros((112, 112, 3), np.uint8))
    cv2.imwrite(str(line / "1.png"), np.full((112, 112, 3), 200, np.uint8))
    (line / "2.png").write_bytes(b"\x89PNG damaged")
    done = run(tiny_bundle, line, folder, "--no-mqtt", "--json")
    assert {json.loads(text)["verdict"] for text in done.stdout.splitlines()} == {"fault"}
    assert files(folder) == []


def test_sigterm_ends_the_event_and_writes_what_waits(tiny_bundle, tiny_data, folder):
    source = f"{tiny_data / 'test' / 'spot' / '00[123].png'}?fps=20&loop=1"
    process = subprocess.Popen(
        command(tiny_bundle, source, folder, "--no-mqtt"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: has_record(folder), "the first evidence")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, errors
    (event,) = (folder / "default").glob("2*/*")
    names = sorted(path.name for path in event.iterdir())
    assert names[0] == "end.json"
    assert [name[:5] for name in names[1:]] in (["start"], ["peak-", "start"])
    assert all(
        sorted(path.name for path in piece.iterdir()) == list(PARTS) for piece in event.iterdir() if piece.is_dir()
    )
    assert "evidence" not in errors


def test_a_disk_that_takes_no_pictures_costs_them_alone(tiny_bundle, tiny_data, folder, broker, device, ear):
    """A limit on the size of files fails in the middle of a write."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    line = command(tiny_bundle, f"{tiny_data / 'test' / 'spot'}?fps=20", folder, *publishing(broker, device))
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no evidence is kept in") == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    ear.wait_for_state("offline")
    phases = [event["phase"] for event in payloads(ear.of("event"))]
    assert (phases[0], phases[-1]) == ("start", "end")
    assert payloads(ear.of("stats"))[-1]["evidence_lost"] >= 2
    assert files(folder) == []


def test_a_disk_that_is_full_costs_the_evidence_until_there_is_room(tiny_bundle, tiny_data, tmp_path):
    """A real one, of 300 KB, in a namespace of its own."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine makes no mount namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    once = 'eval "$2" >"$1/../log" 2>&1; find "$1/evidence" -name frame.png | wc -l'
    script = (
        'mount -t tmpfs -o size=300k tmpfs "$1" || exit 9; head -c 290000 /dev/zero > "$1/other"; '
        f'{once}; cat "$1/../log" >&2; rm "$1/other"; {once}'
    )
    run_once = " ".join(
        f"'{word}'" for word in command(tiny_bundle, tiny_data / "test" / "spot", disk / "evidence", "--no-mqtt")
    )
    done = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", disk, run_once], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 9:
        pytest.skip("no tmpfs in a namespace here")
    full, with_room = map(int, done.stdout.split())
    assert (full, with_room >= 1) == (0, True)
    assert done.stderr.count("no evidence is kept in") == 1
    assert "4 frames" in done.stderr


def test_a_second_inspector_of_the_same_camera_is_refused(tiny_bundle, tiny_data, folder):
    source = f"{tiny_data / 'test' / 'spot'}?fps=20&loop=1"
    process = subprocess.Popen(
        command(tiny_bundle, source, folder, "--no-mqtt"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: has_record(folder), "the first evidence")
        done = run(tiny_bundle, source, folder, "--no-mqtt")
        assert done.exit_code == 2
        assert f"process {process.pid}" in done.stderr
        assert [line.split()[0] for line in done.stderr.splitlines()[-3:]] == ["expected", "found", "next"]
        other = run(tiny_bundle, tiny_data / "test" / "spot", folder, "--no-mqtt", "--set", "mqtt.camera=right")
        assert other.exit_code == 0, other.stderr
    finally:
        process.kill()
        process.communicate()
    assert (folder / "right").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_folder_of_another_user_costs_the_evidence_alone(tiny_bundle, tiny_data, tmp_path):
    (tmp_path / "evidence").mkdir(mode=0o755)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mqtt_helpers import inspection, render, wait_until\n"
        "from edge_occ.inspection.events import Phase\n"
        "from edge_occ.mqtt.topics import Origin\n"
        "from edge_occ.output.evidence.config import EvidenceConfig\n"
        "from edge_occ.output.evidence.store import EvidenceStore\n"
        "folder = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setuid(65534)\n"
        "with EvidenceStore(Path(f'/proc/self/fd/{folder}'), EvidenceConfig(), Origin(), render) as kept:\n"
        "    kept.publish(inspection(1, 2.0, event=Phase.START))\n"
        "print(kept.lost)\n"
    )
    tests = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    command_line = [sys.executable, "-c", code, str(tmp_path / "evidence")]
    done = subprocess.run(command_line, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "1\n", done.stderr
    assert "Permission denied" in done.stderr
