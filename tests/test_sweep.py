"""The SLURM script, run by bash as SLURM runs it, with stand-ins for the commands that it calls."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "deploy/slurm/sweep.sbatch"

TRAINS_UNTIL_STOPPED = """#!/usr/bin/env bash
trap 'echo stopped; exit 130' TERM
echo "started $*" | tee started
while true; do sleep 0.05; done
"""
ENDS = """#!/usr/bin/env bash
echo "$*"
exit {status}
"""


@pytest.fixture
def job(tmp_path):
    """Starts the script with a stand-in for edge-occ."""
    (tmp_path / "scontrol").write_text('#!/usr/bin/env bash\necho "scontrol $*"\n')

    def start(edge_occ):
        (tmp_path / "edge-occ").write_text(edge_occ)
        for name in ("scontrol", "edge-occ"):
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "77"}
        command = ["bash", str(SCRIPT), "airplane deer", "cifar10", "--data", "my sets"]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize("status", [0, 2])
def test_a_job_does_its_category_and_ends_as_it_does(job, status):
    process = job(ENDS.format(status=status))
    output, _ = process.communicate(timeout=20)
    assert output == "reproduce cifar10 --data my sets --categories deer --out sweep/deer\n"
    assert process.returncode == status


def test_a_job_whose_time_is_up_stops_and_queues_again(job, tmp_path):
    process = job(TRAINS_UNTIL_STOPPED)
    deadline = time.monotonic() + 20
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert output.splitlines()[1:] == ["stopped", "scontrol requeue 77"]
    assert process.returncode == 130
