"""Nothing leaves the machine, and nothing is left in the home folder, but what was asked for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRAINED = {
    "input.size": 64,
    "encoder.name": "lite0",
    "encoder.blocks": [0],
    "pretext.name": "none",
    "head.dim": 8,
    "head.scope": "shared",
    "calibration.folds": 2,
    "export.int8": "false",
}
REMOTE = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"(?!127\.|::1"|::ffff:127\.)(?P<address>[^"]+)"')
"""An address in what strace prints, other than this machine's own."""


@pytest.fixture
def clean(tmp_path):
    """An environment as a fresh account has it: a home folder of its own, and no variable that the tests set."""
    home = tmp_path / "home"
    home.mkdir()
    dropped = {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, "HOME": str(home)}


@pytest.fixture
def traced(tmp_path, clean):
    """Runs a command; gives its exit status, its errors, and the addresses that it or a child of it turned to."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt install strace")
    if subprocess.run(["strace", "-f", "--seccomp-bpf", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets no process be traced")

    def run(*command):
        trace = tmp_path / "trace"
        strace = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=connect,sendto,sendmsg,sendmmsg",
            "-o",
            trace,
            sys.executable,
        ]
        done = subprocess.run([*map(str, [*strace, *command])], env=clean, cwd=tmp_path, capture_output=True, text=True)
        addresses = {found["address"] for found in REMOTE.finditer(trace.read_text())}
        return done.returncode, done.stderr, addresses

    return run


@pytest.fixture
def written(clean):
    """Lists the files in the home folder."""
    home = Path(clean["HOME"])
    return lambda: sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["verify", "run", "openvino", "doctor"])
def test_a_command_of_the_device_talks_to_nobody_and_writes_nothing(tiny_bundle, tiny_data, traced, written, name):
    if name == "openvino":
        pytest.importorskip("openvino")
    command = {
        "verify": ["verify", tiny_bundle],
        "run": ["run", "--source", tiny_data / "test" / "spot", "--bundle", tiny_bundle, "--no-mqtt"],
        "openvino": ["verify", tiny_bundle, "--engine", "openvino"],
        "doctor": ["doctor"],
    }[name]
    status, errors, addresses = traced("-m", "edge_occ", *command)
    assert status == 0 or name == "doctor", errors
    assert addresses == set()
    assert written() == []


@pytest.mark.long
@pytest.mark.train
def test_training_talks_to_nobody(tiny_data, tmp_path, traced, written):
    settings = [part for name, value in TRAINED.items() for part in ("--set", f"{name}={value}")]
    command = ["train", "--data", tiny_data, "--out", tmp_path / "new.occ", "--preset", "imagenet", *settings]
    status, errors, addresses = traced("-m", "edge_occ", *command)
    assert status == 0, errors
    assert addresses == set()
    # Matplotlib's list of the fonts that are here.
    assert [path for path in written() if not path.startswith((".cache/matplotlib/", ".config/matplotlib/"))] == []


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_lookup_would_be_noticed(traced, address):
    """The trace shows whom a name server would be; these addresses are for documentation, and nobody's."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    code = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).connect(({address!r}, 53))"
    _, _, addresses = traced("-c", code)
    assert addresses == {address}


@pytest.mark.parametrize(
    "module", ["engines.onnxruntime", "edge_occ.cli", "edge_occ.doctor", "trainer.export.quantise", "trainer"]
)
def test_telemetry_is_off_before_a_runtime_is_imported(module, clean):
    """ONNX Runtime reads the variable as it is loaded."""
    if module.startswith("trainer"):
        pytest.importorskip("torch")
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('onnxruntime', 'openvino'):\n"
        "            assert os.environ['ORT_DISABLE_TELEMETRY'] == '1', name\n"
        "            assert sys.modules['openvino_telemetry'] is None\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {module}\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
