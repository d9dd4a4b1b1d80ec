"""The outbox under kill -9: what was put is delivered, in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_every_event_that_was_put_is_delivered_in_order_after_200_kills(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(ROOT / "tests" / "outbox_killer.py"), str(tmp_path / "outbox"), "200", "7"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    put, sent = result["put"], result["sent"]
    assert len(put) > 500  # most writers live long enough to put something
    assert set(put) <= set(sent)
    assert result["left"] == 0
    first_deliveries = list(dict.fromkeys(sent))
    frames = [int(key.split(" ")[2]) for key in first_deliveries]
    assert frames == sorted(frames)
    # Every event that was delivered has its start first and exactly one end, of its own or of the next run.
    phases: dict[str, list[str]] = {}
    for key in first_deliveries:
        identifier, phase, _ = key.split(" ")
        phases.setdefault(identifier, []).append(phase)
    assert {(told[0], told[-1], Counter(told)["end"]) for told in phases.values()} == {("start", "end", 1)}
    assert not list(tmp_path.glob("*damaged*"))
