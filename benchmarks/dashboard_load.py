"""Load of the dashboard: from publishing to the browser's connection, and losses, with many simulated devices.

``python benchmarks/dashboard_load.py [--devices 200] [--seconds 60]`` starts mosquitto, ``edge-occ dashboard`` and a
publisher, each a process, reads the pushes as a browser does, beside a second browser that reads nothing, and prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge_occ.mqtt.jpeg import insert_comment

SCORE_SECONDS, HEATMAP_SECONDS, EVENT_SECONDS = 0.2, 2.0, 10.0
SETTLE_SECONDS = 5.0


def now_text() -> str:
    return datetime.now(timezone.utc).isoformat()


def of_frame(kind: str, **more: object) -> str:
    return json.dumps({"schema": f"edge-occ/{kind}/1", "frame": 1, "captured_at": now_text(), **more})


def heatmap(jpeg: bytes) -> bytes:
    return insert_comment(jpeg, of_frame("heatmap", score=0.5, verdict="normal").encode())


def event(number: int, phase: str) -> str:
    return of_frame("event", id=f"event-{number}", phase=phase, peak=2.0, frames=1, boxes=[], historical=False)


def noisy_picture(side: int) -> bytes:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8), (0, 0), 2)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def publish(port: int, devices: int, seconds: float, counts: dict[str, int]) -> None:
    """Publish for all devices on time, as far as this machine allows."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    jpeg, sent = noisy_picture(512), {"scores": 0, "heatmaps": 0, "events": 0}
    begin = time.monotonic()
    steps, step = int(seconds / SCORE_SECONDS), 0
    per = {"heatmap": round(HEATMAP_SECONDS / SCORE_SECONDS), "event": round(EVENT_SECONDS / SCORE_SECONDS)}
    while step < steps:
        for device in range(devices):
            late = begin + (step + device / devices) * SCORE_SECONDS - time.monotonic()
            if late > 0.002:
                time.sleep(late)
            topic, phase = f"edge-occ/device-{device:03}", step + device
            score = of_frame("score", score=0.5, p_value=0.4, threshold=1, verdict="normal", latency_ms=9)
            client.publish(f"{topic}/score", score)
            sent["scores"] += 1
            if phase % per["heatmap"] == 0:
                client.publish(f"{topic}/heatmap", heatmap(jpeg), retain=True)
                sent["heatmaps"] += 1
            number = phase // per["event"] * devices + device
            if phase % per["event"] == 0 and step + 5 < steps:
                client.publish(f"{topic}/event", event(number, "start"), 1)
                sent["events"] += 1
            elif phase % per["event"] == 5 and step >= 5:
                client.publish(f"{topic}/event", event(number, "end"), 1)
        step += 1
    counts.update({**sent, "seconds": round(time.monotonic() - begin), "heatmap_kb": round(len(jpeg) / 1024)})
    while client._out_messages:
        time.sleep(0.1)
    client.disconnect()


class Reader(threading.Thread):
    """Reads server-sent events and calls ``take(content, milliseconds)`` for each."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.latencies: list[float] = []
        self.pushes = self.bytes = 0
        self.states: dict[str, tuple[bool, bool]] = {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.request("GET", path, headers={"Accept": "text/event-stream"})
        self._answer = self._connection.getresponse()

    def run(self) -> None:
        """Read until the server ends."""
        for line in self._answer:
            now = time.time() * 1000
            self.bytes += len(line)
            if line.startswith(b"data: "):
                self.pushes += 1
                content = json.loads(line[6:])
                for tile in content.get("tiles", []):
                    if "score" in tile:
                        self.latencies.append(now - tile["score"]["ts"])
                for found in content.get("events", []):
                    started, ended = "started" in found, "ended" in found
                    if started and found["id"] not in self.states:
                        self.latencies.append(now - found["started"])
                    self.states[found["id"]] = started, ended

    def quantiles(self) -> dict[str, float]:
        """Quantiles of what was measured, milliseconds."""
        if not self.latencies:
            return {}
        return {f"p{q}_ms": round(float(np.percentile(self.latencies, q)), 1) for q in (50, 95, 99)}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def healthz(port: int) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/healthz")
    return dict(json.load(connection.getresponse()))


def wait_for_dashboard(port: int) -> None:
    for _ in range(600):
        try:
            if healthz(port)["broker_connected"]:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the dashboard did not start")


def drained(port: int) -> dict[str, object]:
    """The state of the dashboard once it has what the broker still kept for it."""
    before: dict[str, object] = {}
    while (after := healthz(port)) != before:
        before = after
        time.sleep(SETTLE_SECONDS)
    return after


def measure(devices: int, seconds: float) -> dict[str, object]:
    broker, port = free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = [
            f"listener {broker} 127.0.0.1",
            "allow_anonymous true",
            "persistence false",
            "max_queued_messages 10000",
        ]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, "user root"]) + "\n")
        started = []
        for command in (
            [shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or "mosquitto", "-c", str(folder / "mosquitto.conf")],
            [
                sys.executable,
                "-m",
                "edge_occ",
                "dashboard",
                "--port",
                str(port),
                "--broker",
                f"mqtt://127.0.0.1:{broker}",
            ],
        ):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started.append(process)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        wait_for_dashboard(port)
        stream, events = Reader(port, "/stream"), Reader(port, "/events")
        for reader in (stream, events):
            reader.start()
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server = psutil.Process(started[1].pid)
        manager = stack.enter_context(multiprocessing.Manager())
        counts = manager.dict()
        publisher = multiprocessing.Process(target=publish, args=(broker, devices, seconds, counts))
        begin, used = time.monotonic(), server.cpu_times()
        publisher.start()
        memory = []
        while publisher.is_alive():
            time.sleep(1.0)
            memory.append(server.memory_info().rss >> 20)
        took, after = time.monotonic() - begin, server.cpu_times()
        sent, health = dict(counts), drained(port)
        ended = sum(all(state) for state in events.states.values())
        return {
            "devices": devices,
            "sent": sent,
            "messages_a_second": round(sum(sent[key] for key in ("scores", "heatmaps", "events")) / sent["seconds"]),
            "messages_lost": sent["scores"] + sent["heatmaps"] + 2 * sent["events"] - int(str(health["messages"])),
            "score_to_browser": stream.quantiles(),
            "event_to_reader": events.quantiles(),
            "events_seen_whole": ended,
            "events_lost": sent["events"] - ended,
            "pushes_a_second": round(stream.pushes / took, 1),
            "kb_a_second": round(stream.bytes / took / 1024),
            "server_cpu_share": round((after.user + after.system - used.user - used.system) / took, 2),
            "server_mb": {"after 10 s": memory[min(10, len(memory) - 1)], "at the end": memory[-1]},
            "load_average": [round(value, 1) for value in psutil.getloadavg()],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.devices, arguments.seconds)))


if __name__ == "__main__":
    main()
