"""The page in a real browser, on what real devices publish and on what hostile ones may."""

import contextlib
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import webdriver
from dashboard_helpers import dashboard, event, heatmap, score, stats, status
from mqtt_helpers import inspection, render
from page_helpers import AXE, tile, until, until_tile, violations

from edge_occ.dashboard.access_token import Token
from edge_occ.dashboard.limits import Limits
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.output.evidence.label import mark
from trainer.review.stored_features import features_path

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(webdriver.MISSING), reason=webdriver.MISSING or "there is a browser"),
]

ATTACK = "<img src=x onerror=hacked=1><script>hacked=1</script><svg/onload=hacked=1>"


@pytest.fixture
def browser(tmp_path):
    with webdriver.Browser(tmp_path / "browser") as window:
        yield window


def asked(window):
    """Addresses on the network that the page asked for; the browser's own first page asks for others."""
    return [url for url in window.requested() if url.startswith(("http", "ws"))]


def send(line, config, topic, message, **options):
    line.send(f"{config.prefix}/{topic}", message if isinstance(message, bytes) else message.to_json(), **options)


def picture(shade=90):
    return insert_comment(render(inspection(shade, size=64)), heatmap().to_json())


@contextlib.contextmanager
def running(bundle, data, config, folder):
    """A real inspector of good and defective discs, over and over."""
    good, spot = data / "test" / "good", data / "test" / "spot"
    folder.mkdir()
    for index, path in enumerate(
        [*[good / f"00{i}.png" for i in (0, 2, 3, 5)], *[spot / f"00{i}.png" for i in (1, 2)]]
    ):
        shutil.copy(path, folder / f"{index}.png")
    options = [f"mqtt.prefix={config.prefix}", "mqtt.device=press-1", "mqtt.camera=left", "mqtt.stats_seconds=0.5"]
    command = [sys.executable, "-m", "edge_occ", "run", "--source", f"{folder}?fps=3&loop=1", "--bundle", str(bundle)]
    command += ["--broker", config.broker, *(word for option in options for word in ("--set", option))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_real_run_is_seen_and_its_end_too(browser, served, config, tiny_bundle, tiny_data, tmp_path):
    browser.open(served.url)
    until(browser, "return document.getElementById('broker').dataset.connected === 'true'", "the broker")
    assert browser.text("#empty") == "No device has published anything yet."
    with running(tiny_bundle, tiny_data, config, tmp_path / "line") as process:
        until_tile(browser, "press-1", "t.querySelector('.heatmap img').naturalWidth", 112)
        before = tile(browser, "press-1", "t.querySelector('.scores').getAttribute('d')")
        assert before.startswith("M")
        browser.run(
            "window.states = []; const t = document.querySelector('.tile');"
            "new MutationObserver(() => states.push(t.dataset.condition)).observe(t, {attributes: true})"
        )
        until(browser, "return states.includes('anomalous')", "an event")
        until(browser, "return states.includes('normal')", "a good part")
        until_tile(browser, "press-1", "!!t.querySelector('.events li:not(.open)')")
        until_tile(browser, "press-1", "parseFloat(t.querySelector('.facts dd').textContent) > 0")
        assert tile(browser, "press-1", "t.querySelector('.scores').getAttribute('d')") != before
        assert tile(browser, "press-1", "t.querySelector('.threshold').getAttribute('d')").startswith("M0 ")
        assert tile(browser, "press-1", "t.querySelector('.camera').textContent") == "left"
        process.kill()  # the broker sends its will
        until_tile(browser, "press-1", "t.dataset.condition", "offline")
    band = "getComputedStyle(t.querySelector('.condition')).backgroundColor"
    assert tile(browser, "press-1", band) == "rgb(93, 102, 109)", "grey"
    assert "grayscale" in tile(browser, "press-1", "getComputedStyle(t.querySelector('img')).filter")
    assert browser.console() == [], "nothing was refused or failed"
    assert all(url.startswith(served.url) for url in asked(browser))


def test_a_device_without_messages_turns_grey(browser, config, line):
    with dashboard(config, limits=Limits(silent_seconds=1)) as page:
        browser.open(page.url)
        send(line, config, "a/status", status("online"), retain=True)
        until_tile(browser, "a", "t.dataset.condition", "silent")
        send(line, config, "a/score", score())
        until_tile(browser, "a", "t.dataset.condition", "normal")
        until_tile(browser, "a", "t.dataset.condition", "silent")
        assert tile(browser, "a", "t.querySelector('.since').textContent").startswith("since ")
        assert browser.text("#summary") == "1 silent"
        assert browser.run("return document.title") == "1 silent · edge-occ"


def test_two_lines_on_one_page(browser, config, line):
    everywhere = config.model_copy(update={"prefix": f"{config.prefix}/+/+/edge-occ"})
    with dashboard(everywhere) as page:
        browser.open(page.url)
        for name, size in (("line2", 48), ("line1", 64)):
            jpeg = insert_comment(render(inspection(90, size=size)), heatmap().to_json())
            send(line, config, f"hamburg/{name}/edge-occ/press-1/heatmap", jpeg)
        sizes = "return [...document.querySelectorAll('.tile .heatmap img')].map(i => i.naturalWidth).join()"
        until(browser, f"{sizes} === '64,48'", "the pictures of both, in the order of their places")
        names = browser.run("return [...document.querySelectorAll('.tile .open')].map(b => b.title)")
        assert names == ["press-1 hamburg/line1", "press-1 hamburg/line2"]
        browser.click(".tile .open")
        assert browser.text("#details .place") == "hamburg/line1"
        assert browser.console() == []


def test_texts_of_devices_do_nothing(browser, config, line, tmp_path):
    """Whoever may publish may choose the names of devices and events, and every text."""
    device = ATTACK.replace("/", "\\")  # a slash begins another level of the topic
    more: dict[str, Any] = {"evidence_frame": "javascript:hacked=1", "evidence_record": f'"><{ATTACK}'}
    with dashboard(config, evidence=tmp_path) as page:
        browser.open(page.url)
        for name in (device, "__proto__", "</template>".replace("/", "\\"), "constructor"):
            send(line, config, f"{name}/{device}/status", status("fault", ATTACK))
            send(line, config, f"{name}/{device}/event", event(ATTACK, **more))
            send(line, config, f"{name}/{device}/stats", stats(engine=ATTACK, bundle=ATTACK))
            send(line, config, f"{name}/{device}/score", score(2, "anomalous"))
            send(line, config, f"{name}/{device}/heatmap", picture())
        until(
            browser, "return document.querySelectorAll('.tile .heatmap img:not([hidden])').length === 4", "four tiles"
        )
        for name in (device, "__proto__"):
            assert tile(browser, name, "t.querySelector('.detail').textContent") == ATTACK
            tile(browser, name, "t.querySelector('.open').click()")
            for place in ("tbody", ".facts"):
                shown = f"document.querySelector('#details {place}').textContent"
                until(browser, f"return {shown}.includes({json.dumps(ATTACK)})", f"the text in {place}")
            browser.press("Escape")
        until(browser, "return document.getElementById('announcer').textContent || true", "the announcement")
        assert browser.run(
            "return [window.hacked, document.querySelectorAll('[src=x], [onerror], .tile script').length]"
        ) == [
            None,
            0,
        ]
        # Names of evidence are paths of this server's folder, whatever they look like.
        assert [line for line in browser.console() if f"{page.url}evidence/" not in line] == []
        assert all(url.startswith(page.url) for url in asked(browser))


def test_everything_can_be_done_with_keys(browser, served, config, line):
    browser.open(served.url)
    for device in ("press-10", "press-2", "press-1"):
        send(line, config, f"{device}/score", score())
    send(line, config, "press-2/event", event("e2"))
    until(browser, "return document.querySelectorAll('.tile').length === 3", "three tiles")
    order = "return [...document.querySelectorAll('.tile .device')].map(d => d.textContent)"
    assert browser.run(order) == ["press-1", "press-2", "press-10"]
    browser.press("Tab", "Tab", "Enter")  # needs attention
    until(browser, "return document.querySelectorAll('.tile:not([hidden])').length === 1", "the filter")
    browser.press("Tab")
    assert browser.run("return document.activeElement.textContent") == "press-2"
    outline = browser.run("return getComputedStyle(document.activeElement.closest('.tile')).outlineStyle")
    assert outline == "solid"
    browser.press("Enter")
    assert browser.run("return document.getElementById('details').open")
    assert browser.run("return document.activeElement.id") == "close"
    until(browser, "return document.querySelector('#details tbody').textContent.includes('e2')", "the event")
    send(line, config, "press-2/event", event("e2", "end", seconds=9))
    until(browser, "return document.querySelector('#details tbody').textContent.includes('(9.0 s)')", "its end")
    browser.press("Escape")
    assert not browser.run("return document.getElementById('details').open")
    assert browser.run("return document.activeElement.textContent") == "press-2", "back where it was opened"
    assert browser.console() == []


def test_evidence_is_shown_where_it_is_on_this_machine(browser, config, line, tmp_path):
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "frame 1.jpg").write_bytes(render(inspection(70, size=48)))
    message = event("e", evidence_frame="frame 1.jpg", evidence_heatmap="gone.jpg", evidence_record="e.json")
    with dashboard(config, evidence=folder) as page:
        browser.open(page.url)
        send(line, config, "a/event", message)
        until_tile(browser, "a", "!t.querySelector('.open').click()")
        until(browser, "return document.querySelector('.evidence img')?.naturalWidth === 48", "the picture")
        until(browser, "return document.querySelector('.evidence').textContent.includes('not there')", "the other one")


def test_a_person_marks_an_event_and_the_mark_is_there_the_next_time(browser, config, line, tmp_path):
    folder = tmp_path / "left" / "2026-01-01" / "080000.000Z-e"
    folder.mkdir(parents=True)
    record = "left/2026-01-01/080000.000Z-e/start-000001/record.json"
    pressed = "return [...document.querySelectorAll('.marks button')].map(b => b.ariaPressed).join()"
    token = Token("0123456789abcdef")
    with dashboard(config, evidence=tmp_path, token=token, mark=partial(mark, tmp_path)) as page:
        browser.open(page.url)
        browser.run("document.getElementById('token').value = '0123456789abcdef'")
        browser.click("button")
        send(line, config, "a/event", event("e", evidence_record=record))
        until_tile(browser, "a", "!t.querySelector('.open').click()")
        until(browser, "return document.querySelectorAll('.marks button').length === 2", "the buttons")
        browser.run("document.querySelector('.marks button[data-label=defect]').click()")
        until(browser, "return document.querySelector('.marks span').textContent === 'Kept'", "the answer")
        assert browser.run(pressed) == "false,true"
        assert json.loads((folder / "label.json").read_text())["label"] == "defect"
        browser.press("Escape")
        until_tile(browser, "a", "!t.querySelector('.open').click()")
        until(browser, f"{pressed} === 'false,true'", "the mark of before")
        assert browser.console() == []


def test_a_muted_event_is_quiet(browser, served, config, line):
    send(line, config, "press-1/event", event("e", muted=True))
    browser.open(served.url)
    until_tile(browser, "press-1", "t.querySelector('.condition .word').textContent", "Muted")
    assert browser.run("return document.title") == "edge-occ"
    browser.run("document.getElementById('attention').click()")
    until_tile(browser, "press-1", "t.hidden")


def test_the_review_of_good_images_opens_from_the_page(browser, config, tiny_bundle, tmp_path):
    bundle = shutil.copy(tiny_bundle, tmp_path / "part.occ")
    shutil.copy(features_path(tiny_bundle), features_path(Path(bundle)))
    command = [sys.executable, "-m", "edge_occ", "review", str(bundle)]
    subprocess.run(command, check=True, capture_output=True)
    with dashboard(config, review=tmp_path / "part.review.html") as served:
        browser.open(served.url)
        until(browser, "return !document.getElementById('review').hidden", "the link")
        browser.open(f"{served.url}review")
        until(browser, "return document.images.length > 0 && document.images[0].naturalWidth > 0", "pictures")
        browser.run("[...document.querySelectorAll('button')].find(b => /defective/i.test(b.textContent)).click()")
        until(browser, "return /1/.test(document.getElementById('count').textContent)", "a mark")


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1280, True)])
def test_nothing_is_wider_than_the_window_and_colours_follow_the_system(served, config, line, tmp_path, width, dark):
    with webdriver.Browser(tmp_path / "browser", (width, 800), dark) as window:
        window.open(served.url)
        send(line, config, f"{'long-' * 80}/{'x' * 400}/status", status("fault", "y" * 1000))
        send(line, config, "a/score", score(1e-9, threshold=123456789.0))
        send(line, config, "a/event", event("z" * 200, peak=1e300))
        until(window, "return document.querySelectorAll('.tile').length === 2", "two tiles")
        assert window.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
        for device in ("a", "long-" * 80):
            tile(window, device, "t.querySelector('.open').click()")
            assert window.run("const d = document.getElementById('details'); return d.scrollWidth - d.clientWidth") == 0
            window.press("Escape")
        paper = window.run("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(18, 21, 24)" if dark else "rgb(244, 245, 243)")
        assert window.console() == []


def test_a_server_that_went_is_reported_and_one_that_came_back_is_taken(browser, config, line):
    send(line, config, "old/status", status("online"), retain=True)
    with dashboard(config) as page:
        browser.open(page.url)
        until_tile(browser, "old", "!!t.dataset.condition")
    until(browser, "return document.body.dataset.lost === 'true'", "the loss")
    assert browser.text("#broker-words") == "No connection to the dashboard's server; trying again"
    send(line, config, "old/status", b"", retain=True)
    send(line, config, "new/status", status("online"), retain=True)
    with dashboard(config, port=int(page.url.rstrip("/").rpartition(":")[2])):
        until_tile(browser, "new", "!!t.dataset.condition")
        until(browser, "return document.body.dataset.lost === 'false'", "the new server")
        assert tile(browser, "old", "true") is None, "the new server does not know it"


def test_the_token_is_asked_for_once(browser, config):
    with dashboard(config, token=Token("0123456789abcdef")) as page:
        browser.open(page.url)
        assert not browser.run("return document.getElementById('refused').checkVisibility()")
        for given in ("wrong", "0123456789abcdef"):
            browser.run("document.getElementById('token').value = arguments[0]", given)
            browser.click("button")
            if given == "wrong":
                until(browser, "return document.getElementById('refused')?.checkVisibility()", "the refusal")
        until(browser, "return !!document.getElementById('tiles')", "the page")
        until(browser, "return document.getElementById('broker').dataset.connected === 'true'", "a push")
        assert browser.run("return document.cookie") == ""
        browser.open(page.url)
        assert browser.run("return !!document.getElementById('tiles')")
        assert browser.console() == []


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: EDGE_OCC_TEST_AXE names its axe.min.js")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(config, line, tmp_path, width, dark):
    axe = AXE.read_text(encoding="utf-8")
    with (
        dashboard(config, limits=Limits(silent_seconds=600)) as page,
        webdriver.Browser(tmp_path / "browser", (width, 900), dark) as window,
    ):
        window.open(page.url)
        for name, state in [("a", "online"), ("b", "offline"), ("c", "fault"), ("d", "building"), ("e", "online")]:
            send(line, config, f"{name}/status", status(state, "why"))
            send(line, config, f"{name}/stats", stats())
            send(line, config, f"{name}/heatmap", picture())
        send(line, config, "a/score", score())
        send(line, config, "e/score", score(2, "anomalous"))
        send(line, config, "e/event", event("e"))
        until_tile(window, "e", "t.dataset.condition", "anomalous")
        assert violations(window, axe) == []
        tile(window, "e", "t.querySelector('.open').click()")
        assert violations(window, axe) == []
