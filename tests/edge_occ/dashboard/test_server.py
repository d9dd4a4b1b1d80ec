"""Answers of the dashboard's server, at a real broker."""

import contextlib
import itertools
import json
import socket
import threading
import time
from functools import partial

import pytest
from dashboard_helpers import dashboard, event, heatmap, score, stats
from mqtt_helpers import PATIENCE, Ear, Mosquitto, inspection, render, wait_until

from edge_occ.common.errors import InputError
from edge_occ.dashboard.access_token import Token
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.serve import is_loopback, serve
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.publisher import Publisher
from edge_occ.output.evidence.label import mark


def picture(shade: int) -> bytes:
    return insert_comment(render(inspection(shade)), heatmap(shade / 100).to_json())


def send(line, config, topic, payload, **options):
    line.send(f"{config.prefix}/{topic}", payload, **options)


def until(pushes, found):
    """Read pushes until one fulfils the condition; there is one every five seconds in any case."""
    deadline, read = time.monotonic() + PATIENCE, []
    for _, push in pushes:
        if found(push):
            return push
        read.append(push)
        assert time.monotonic() < deadline, f"in vain: {str(read[-5:])[:2000]}"
    raise AssertionError("the server ended")


def devices(push):
    return [tile["device"] for tile in push["tiles"] if "device" in tile]


def test_what_a_publisher_sends_is_pushed_whole_and_then_in_parts(served, config):
    config = config.model_copy(update={"device": "press-1", "heatmap_hz": 1000})
    with Publisher(config, render) as publisher, served.pushes() as pushes:
        first = until(pushes, lambda push: push["tiles"])
        assert first["broker"]["connected"]
        publisher.publish(inspection(0, 0.5))
        push = until(pushes, lambda push: any("heatmap" in tile for tile in push["tiles"]))
        assert not push["whole"]
        publisher.publish(inspection(1, 2.0, event=Phase.START, of="e"))
        push = until(pushes, lambda push: any("events" in tile for tile in push["tiles"]))
        (tile,) = push["tiles"]
        assert "device" not in tile, "the page has it"
        assert tile["events"][0]["open"] == 1
        publisher.publish(inspection(2, 0.5, event=Phase.END, of="e"))
        push = until(
            pushes, lambda push: any(not tile.get("events", [{"open": 1}])[0]["open"] for tile in push["tiles"])
        )
        with served.pushes() as later:
            _, whole = next(later)
            assert whole["whole"]
            assert devices(whole) == ["press-1"]
            assert {"condition", "score", "points", "events"} <= set(whole["tiles"][0])
    (found,) = served.json("/events")
    assert (found["device"], found["camera"], found["id"], found["open"]) == ("press-1", "", "e", 0)
    assert found["started"] <= found["peak_at"] <= found["ended"]


def test_events_are_pushed_from_now_on_and_from_where_a_reader_was(served, config, line):
    send(line, config, "a/event", event("old").to_json())
    wait_until(lambda: served.json("/events"), "the first event")
    with served.pushes("/events") as pushes:
        send(line, config, "a/event", event("old", "end").to_json())
        name, push = next(pushes)
        assert [(of["id"], of["open"]) for of in push["events"]] == [("old", 0)]
    send(line, config, "a/event", event("new").to_json())
    wait_until(lambda: len(served.json("/events")) == 2, "the second event")
    with served.pushes("/events", Last_Event_ID=name) as pushes:
        assert [of["id"] for of in next(pushes)[1]["events"]] == ["new"]
    for unknown in ("00000000-5", "", "x", f"{name}0{'0' * 50}"):
        with served.pushes("/events", Last_Event_ID=unknown) as pushes:
            assert len(next(pushes)[1]["events"]) == 2, "all, for a reader of an earlier server"


def test_the_latest_heatmap_is_a_snapshot(served, config, line):
    assert served.get("/snapshot.jpg?device=a")[0] == 404
    assert served.get("/snapshot.jpg")[0] == 404
    for shade in (10, 20):
        send(line, config, "a/heatmap", picture(shade))
    send(line, config, "a/left%23 b/heatmap", picture(30))
    wait_until(lambda: served.json("/healthz")["messages"] == 3, "three messages")
    status_, headers, body = served.get("/snapshot.jpg?device=a")
    assert (status_, headers["Content-Type"], body) == (200, "image/jpeg", picture(20))
    assert served.get("/snapshot.jpg?device=a&camera=left%2523+b")[2] == picture(30)
    assert served.get("/snapshot.jpg?device=a&camera=right")[0] == 404


def test_devices_of_one_name_on_two_lines_are_asked_for_by_their_place(config, line):
    everywhere = config.model_copy(update={"prefix": f"{config.prefix}/+/edge-occ"})
    with dashboard(everywhere) as page:
        wait_until(lambda: page.get("/healthz")[0] == 200, "the broker")
        for shade, place in enumerate(("line1", "line2")):
            send(line, config, f"{place}/edge-occ/press-1/heatmap", picture(shade))
            send(line, config, f"{place}/edge-occ/press-1/event", event(place).to_json())
        wait_until(lambda: page.json("/healthz")["messages"] == 4, "four messages")
        for shade, place in enumerate(("line1", "line2")):
            assert page.get(f"/snapshot.jpg?device=press-1&place={place}")[2] == picture(shade)
            assert page.get(f"/preview.mjpg?device=press-1&place={place}x")[0] == 404
        assert page.get("/snapshot.jpg?device=press-1")[0] == 404, "which of the two?"
        assert {(of["place"], of["device"], of["id"]) for of in page.json("/events")} == {
            ("line1", "press-1", "line1"),
            ("line2", "press-1", "line2"),
        }


def test_a_preview_shows_every_new_heatmap(served, config, line):
    assert served.get("/preview.mjpg?device=a")[0] == 404
    send(line, config, "a/heatmap", picture(1))
    wait_until(lambda: served.get("/snapshot.jpg?device=a")[0] == 200, "the heatmap")
    with served.connection() as connection:
        connection.request("GET", "/preview.mjpg?device=a")
        answer = connection.getresponse()
        kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
        assert kind == "multipart/x-mixed-replace"
        for shade in (1, 2):
            assert answer.readline() == f"--{boundary}\r\n".encode()
            assert answer.readline() == b"Content-Type: image/jpeg\r\n"
            size = int(answer.readline().partition(b": ")[2])
            assert answer.readline() == b"\r\n"
            assert answer.read(size) == picture(shade)
            assert answer.readline() == b"\r\n"
            send(line, config, "a/heatmap", picture(2))


def test_readers_are_bounded_and_places_are_free_again(config, line):
    with dashboard(config, limits=Limits(streams=2, previews=1)) as page:
        send(line, config, "a/heatmap", picture(1), retain=True)
        wait_until(lambda: page.get("/snapshot.jpg?device=a")[0] == 200, "the heatmap")
        with page.pushes() as first, page.pushes("/events"):
            next(first)
            code, headers, _ = page.get("/stream")
            assert (code, headers["Retry-After"]) == (503, "10")
            with page.connection() as watching:
                watching.request("GET", "/preview.mjpg?device=a")
                assert watching.getresponse().status == 200
                assert page.get("/preview.mjpg?device=a")[0] == 503

        def is_free() -> bool:
            with contextlib.suppress(AssertionError), page.pushes() as pushes:
                next(pushes)
                return True
            return False

        wait_until(is_free, "a place")


def test_health_says_what_is_known(served, config, line):
    send(line, config, "a/score", score().to_json())
    wait_until(lambda: served.json("/healthz")["messages"] == 1, "the message")
    assert served.json("/healthz") == {
        "broker_connected": True,
        "broker": config.broker,
        "devices": 1,
        "messages": 1,
        "left_out": 0,
    }


def test_the_page_is_served_before_there_is_a_broker_and_after_it_left(tmp_path):
    broker = Mosquitto(tmp_path)
    config = MqttConfig(broker=broker.url)
    with dashboard(config) as page, page.pushes() as pushes:
        assert page.get("/")[0] == 200
        wait_until(lambda: "refused" in page.json("/healthz").get("problem", "refused"), "an attempt")
        assert page.get("/healthz")[0] == 503
        assert not next(pushes)[1]["broker"]["connected"]
        problem = until(pushes, lambda push: "refused" in push["broker"]["problem"])
        assert problem["broker"]["address"] == broker.url
        broker.start()
        until(pushes, lambda push: push["broker"]["connected"])
        with Ear(broker.port, "edge-occ/#") as line:
            send(line, config, "a/event", event().to_json())
            assert until(pushes, lambda push: push["tiles"])["tiles"][0]["events"][0]["open"] == 1
        broker.stop()
        until(pushes, lambda push: not push["broker"]["connected"])
        broker.start()
        # The end of the event may have been missed.
        push = until(pushes, lambda push: any("events" in tile for tile in push["tiles"]))
        assert push["broker"]["connected"]
        assert push["tiles"][0]["events"][0]["open"] == 0
    broker.stop()


def test_evidence_is_read_from_its_folder_alone(config, tmp_path):
    folder = tmp_path / "evidence"
    (folder / "2026 é").mkdir(parents=True)
    (folder / "2026 é" / "a.jpg").write_bytes(b"picture")
    (folder / "a.json").write_text("{}")
    (folder / "a.html").write_text("<script>")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    with dashboard(config, evidence=folder) as page:
        code, headers, body = page.get("/evidence/2026%20%C3%A9/a.jpg")
        assert (code, headers["Content-Type"], body) == (200, "image/jpeg", b"picture")
        assert page.get("/evidence/a.json")[1]["Content-Type"] == "application/json"
        for path in (
            "../secret.jpg",
            "%2e%2e/secret.jpg",
            "..%2fsecret.jpg",
            f"/{tmp_path}/secret.jpg",
            "link.jpg",
            "circle.jpg",
            "a.html",
            "2026%20%C3%A9",
            "nothing.jpg",
            "a.jpg%00.json",
            "x" * 5000 + ".jpg",
            "",
        ):
            assert page.get(f"/evidence/{path}")[0] == 404, path
        with page.pushes() as pushes:
            assert next(pushes)[1]["evidence"] is True
    with dashboard(config) as page:
        assert page.get("/evidence/a.json")[0] == 404


def test_a_review_page_is_served_apart_from_everything_else(served, config, tmp_path):
    page = tmp_path / "part.review.html"
    page.write_text("<!doctype html><p>odd ones")
    assert served.get("/review")[0] == 404
    with dashboard(config, review=page) as other:
        code, headers, body = other.get("/review")
        assert (code, body) == (200, page.read_bytes())
        policy = headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts allow-downloads")
        assert "allow-same-origin" not in policy
        assert "connect-src" not in policy, "default-src 'none' holds"
        page.unlink()
        assert other.get("/review")[0] == 404
    with dashboard(config, review=page, token=Token("secret")) as guarded:
        assert guarded.get("/review")[0] == 401


def test_hostile_names_are_json_like_any_other(served, config, line):
    name = "<script>alert(1)<\u2028script>\u202e"
    with served.pushes() as pushes:
        send(line, config, f"{name}/event", event("</script>\n\ndata: x").to_json())
        push = until(pushes, lambda push: push["tiles"])
        assert devices(push) == [name]
        assert push["tiles"][0]["events"][0]["id"] == "</script>\n\ndata: x"


def test_a_taken_port_is_an_error_of_the_user(config):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="in use") as caught:
        serve(config, "127.0.0.1", taken.getsockname()[1], threading.Event())
    assert "--port" in caught.value.advice


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "192.0.2.1"])
def test_an_address_that_is_not_here_is_an_error_of_the_user(config, host):
    with pytest.raises(InputError, match="an address to listen on"):
        serve(config, host, 0, threading.Event())


def test_loopback():
    assert [
        host
        for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "line3")
        if is_loopback(host)
    ] == [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "localhost",
    ]


def test_pushes_are_at_most_so_many_a_second(config, line):
    with dashboard(config, limits=Limits(pushes_hz=5)) as page:
        wait_until(lambda: page.get("/healthz")[0] == 200, "the broker")
        stop = threading.Event()

        def publish() -> None:
            for index in itertools.count():
                if stop.is_set():
                    return
                send(line, config, "a/score", score(index / 1000).to_json())

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            with page.pushes() as pushes:
                begin, count = time.monotonic(), 0
                while count < 6:
                    next(pushes)
                    count += 1
                assert time.monotonic() - begin > 5 / 5 * 0.9, "five pauses of a fifth of a second"
        finally:
            stop.set()
            thread.join()


def test_statistics_reach_the_page(served, config, line):
    with served.pushes() as pushes:
        send(line, config, "a/stats", stats().to_json())
        tile = until(pushes, lambda push: push["tiles"])["tiles"][0]
    assert json.loads(json.dumps(tile["stats"]))["fps"] == 3.5


EVENT_FOLDER = "left/2026-01-01/080000.000Z-e"


def marking(folder):
    return partial(mark, folder)


def test_a_mark_is_kept_beside_the_evidence_and_needs_a_token(config, tmp_path):
    (tmp_path / EVENT_FOLDER).mkdir(parents=True)
    token = Token("a-secret-of-the-line")
    body = json.dumps({"evidence": f"{EVENT_FOLDER}/start-000001/record.json", "label": "defect"})
    as_json = {"Content_Type": "application/json"}
    with dashboard(config, evidence=tmp_path, token=token, mark=marking(tmp_path)) as page:
        assert page.get("/mark", "POST", body, **as_json)[0] == 401
        assert not (tmp_path / EVENT_FOLDER / "label.json").exists()
        bearer = {"Authorization": "Bearer a-secret-of-the-line"}
        assert page.get("/mark", "POST", body, **as_json, **bearer)[0] == 204
        kept = json.loads(page.get(f"/evidence/{EVENT_FOLDER}/label.json", **bearer)[2])
        assert kept["label"] == "defect"
        with page.pushes(**bearer) as pushes:
            assert next(pushes)[1]["marks"] is True
        for wrong, headers, code in (
            (body, {}, 415),
            (body, {"Content_Type": "text/plain"}, 415),
            ("{", as_json, 400),
            ("[]", as_json, 400),
            ("[" * 4000, as_json, 400),
            ('{"evidence": "x"}', as_json, 400),
            (json.dumps({"evidence": "../../etc/passwd", "label": "good"}), as_json, 400),
            (json.dumps({"evidence": EVENT_FOLDER, "label": "perhaps"}), as_json, 400),
            (json.dumps({"evidence": EVENT_FOLDER.replace("-e", "-gone"), "label": "good"}), as_json, 400),
            (body + " " * 5000, as_json, 400),
        ):
            assert page.get("/mark", "POST", wrong, **headers, **bearer)[0] == code, wrong[:60]
        record = f"{EVENT_FOLDER}/start-000001/record.json"
        assert json.loads(page.get(f"/mark?evidence={record}", **bearer)[2])["label"] == "defect"
        for other in (record.replace("-e/", "-gone/"), "../../../etc/passwd", "", "%00"):
            assert json.loads(page.get(f"/mark?evidence={other}", **bearer)[2]) == {"label": ""}
        assert page.get("/mark", "PUT", body, **bearer)[0] == 405
    assert json.loads((tmp_path / EVENT_FOLDER / "label.json").read_text())["label"] == "defect"


def test_without_a_token_there_are_no_marks(config, tmp_path):
    (tmp_path / EVENT_FOLDER).mkdir(parents=True)
    body = json.dumps({"evidence": EVENT_FOLDER, "label": "good"})
    with dashboard(config, evidence=tmp_path, mark=marking(tmp_path)) as page:
        assert page.get("/mark", "POST", body, Content_Type="application/json")[0] == 403
        with page.pushes() as pushes:
            assert next(pushes)[1]["marks"] is False
    assert list((tmp_path / EVENT_FOLDER).iterdir()) == []
