"""The page at the widths of a telephone, a laptop and a wall, with the states that a line has, as pictures."""

import os
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdriver
from dashboard_helpers import BEGIN, dashboard, event, heatmap, received, score, stats, status
from page_helpers import AXE, until, until_tile, violations

from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.subscriber import LineSubscriber
from edge_occ.mqtt.payloads import VerdictName
from edge_occ.output.heatmap import encode_jpeg, overlay

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(webdriver.MISSING), reason=webdriver.MISSING or "there is a browser"),
]

FOLDER = os.environ.get("EDGE_OCC_SCREENSHOTS")
"""Where the pictures are kept; by default in the folder of the test."""

HEIGHTS = {360: 2500, 1280: 1330, 1920: 800}
"""Of a window that holds the whole page, by its width."""

STATES = {"press-1": "normal", "press-2": "anomalous", "press-3": "review", "press-4": "fault"}
SECONDS = 280
"""Of history; the page shows 300."""


def picture(peak):
    """A disc and its heatmap, with a defect if its score is above a tenth."""
    image, scores = np.full((448, 448, 3), 60, np.uint8), np.full((448, 448), 0.1, np.float32)
    cv2.circle(image, (224, 224), 150, (150, 160, 170), -1, cv2.LINE_AA)
    if peak > 0.1:
        cv2.circle(image, (270, 180), 34, (40, 50, 150), -1, cv2.LINE_AA)
        cv2.circle(scores, (270, 180), 34, peak, -1)
        cv2.GaussianBlur(scores, (0, 0), 14, dst=scores)
    return encode_jpeg(overlay(image, scores, 0.2, 1.0, 448))


def past(now):
    """Messages of the latest minutes: a quiet camera, one with an event, one in the review band, and a dead one."""
    random = np.random.default_rng(1)
    begin = now - SECONDS
    for device, state in STATES.items():
        for second in range(SECONDS + 1 if state != "fault" else SECONDS - 90):
            value, verdict = float(random.gamma(9, 0.035)), "normal"
            if state == "review" and second > SECONDS - 3:
                value, verdict = 0.84, "review"
            elif state == "anomalous" and (second > SECONDS - 14 or 100 < second < 106):
                value, verdict = float(random.uniform(1.3, 1.9)), "anomalous"
            band = 0.7 if state == "review" else None
            yield received(score(value, verdict, begin + second, review_threshold=band), begin + second, device)
        peak = {"normal": 0.1, "review": 0.84, "anomalous": 1.9, "fault": 0.1}[state]
        shown = heatmap(peak, now).model_copy(update={"verdict": VerdictName(verdict)})
        yield received(shown, now, device, jpeg=picture(peak))
        yield received(stats(now, fps=0 if state == "fault" else 9.8, dropped=0, latency_p95_ms=41), now, device)
        detail = "silent: no frame for 90 s" if state == "fault" else None
        yield received(status("fault" if detail else "online", detail), now, device)
    for phase, second in (("start", 100), ("end", 106)):
        yield received(event("e1", phase, 1.7, begin + second), begin + second, "press-2")
    yield received(event("e2", "start", 1.9, now - 13), now - 13, "press-2")


class Past(LineSubscriber):
    """A subscriber that has listened for minutes."""

    def __init__(self, config, limits):
        super().__init__(config, limits)
        with self.state() as state:
            for message in past((datetime.now(timezone.utc) - BEGIN).total_seconds()):
                state.apply(message)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", HEIGHTS)
def test_every_state_is_seen_at_every_width(config, tmp_path, monkeypatch, width, dark):
    monkeypatch.setattr("edge_occ.dashboard.serve.LineSubscriber", Past)
    with (
        dashboard(config, limits=Limits(silent_seconds=600)) as page,
        webdriver.Browser(tmp_path / "browser", (width, HEIGHTS[width]), dark) as window,
    ):
        window.open(page.url)
        for device, state in STATES.items():
            until_tile(window, device, "t.dataset.condition", state)
        until(window, "return document.querySelectorAll('.tile img:not([hidden])').length === 4", "the heatmaps")
        until(window, "return document.getElementById('broker').dataset.connected === 'true'", "the broker")
        folder = Path(FOLDER or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"dashboard-{width}-{'dark' if dark else 'light'}.png").write_bytes(window.screenshot())
        assert window.run("return document.documentElement.scrollWidth") == width, "nothing is beyond the window"
        if AXE.exists():
            assert violations(window, AXE.read_text(encoding="utf-8")) == []
        shades = "return [...document.querySelectorAll('.tile img')].map(i => getComputedStyle(i).filter)"
        assert window.run(shades) == ["none", "none", "none", "grayscale(1)"], "a dead camera's picture is an old one"
        assert window.console() == []
