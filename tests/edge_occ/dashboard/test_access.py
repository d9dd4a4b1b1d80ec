"""Access to the dashboard, by real requests."""

import json
import socket
from urllib.parse import urlencode

import pytest
from dashboard_helpers import dashboard
from mqtt_helpers import wait_until

from edge_occ.dashboard.access import COOKIE
from edge_occ.dashboard.access_token import Token
from edge_occ.mqtt.config import MqttConfig

SECRET = "a-secret-of-the-line"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
EVERY_PATH = [
    "/",
    "/stream",
    "/events",
    "/snapshot.jpg?device=a",
    "/preview.mjpg?device=a",
    "/healthz",
    "/evidence/a.jpg",
]


@pytest.fixture(scope="module")
def locked(broker):
    """A dashboard that requires a token."""
    with dashboard(MqttConfig(broker=broker.url, prefix="nobody"), token=Token(SECRET)) as page:
        yield page


@pytest.fixture(scope="module")
def served(broker):
    """A dashboard that requires none."""
    with dashboard(MqttConfig(broker=broker.url, prefix="nobody")) as page:
        wait_until(lambda: page.get("/healthz")[0] == 200, "the dashboard to find the broker")
        yield page


def login(page, token):
    return page.get("/login", "POST", urlencode({"token": token}), **FORM)


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"{COOKIE}={SECRET}"},
        {"Cookie": f"{COOKIE}=\xe9"},
        {"Cookie": COOKIE},
    ],
    ids=str,
)
def test_without_the_token_nothing_of_the_line_is_read(locked, path, headers):
    status, answer, body = locked.get(path, **headers)
    if path == "/":
        assert (status, answer["Location"], body) == (303, "/login", b"")
    else:
        assert (status, answer["WWW-Authenticate"], body) == (401, "Bearer", b"A token is required.\n")


def test_the_form_gives_a_cookie_that_no_script_and_no_other_site_has(locked):
    status, headers, _ = login(locked, f" {SECRET} ")
    assert (status, headers["Location"]) == (303, "/")
    value, *attributes = headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert SECRET not in headers["Set-Cookie"]
    status, _, body = locked.get("/", Cookie=value)
    assert status == 200
    assert b"<title>edge-occ</title>" in body
    assert locked.get("/healthz", Authorization=f"Bearer {SECRET}")[0] in (200, 503)
    with locked.pushes(Cookie=value) as pushes:
        assert next(pushes)[1]["tiles"] == []


@pytest.mark.parametrize("token", ["", "wrong", "x" * 100_000, SECRET[:-1], SECRET + "x"])
def test_another_token_gives_no_cookie(locked, token):
    status, headers, _ = login(locked, token)
    assert (status, headers["Location"]) == (303, "/login#refused")
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("body", ["", "token", "%ff=%fe", "token=%ff", "{}", "token=a&token=b"])
def test_a_form_of_any_content_is_answered(locked, body):
    assert locked.get("/login", "POST", body, **FORM)[0] == 303


def test_the_login_page_and_its_style_need_no_token(locked):
    status, _, body = locked.get("/login")
    assert status == 200
    assert b'type="password"' in body
    assert locked.get("/static/dashboard.css")[0] == 200


def test_without_a_token_there_is_no_login(served):
    assert served.get("/login")[1]["Location"] == "/"
    assert login(served, "x")[1]["Location"] == "/"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:8090", "192.168.0.7", socket.gethostname()]
)
def test_names_of_this_machine_and_addresses_are_served(served, host):
    assert served.get("/healthz", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8090",
        "",
        "a b",
        "[::1",
        "127.0.0.1:x",
        "[evil]",
    ],
)
@pytest.mark.parametrize("path", ["/", "/login", "/static/dashboard.js", "/stream"])
def test_other_names_are_refused_as_they_may_be_rebound(served, host, path):
    assert served.get(path, Host=host)[0] == 421


def test_a_further_name_is_served_where_the_user_gives_it(config):
    with dashboard(config, hosts=["Line3.plant.example"]) as page:
        assert page.get("/", Host="line3.plant.example:8090")[0] == 200
        assert page.get("/", Host="plant.example")[0] == 421


@pytest.mark.parametrize(
    "lines", [[b"GET /healthz HTTP/1.0"], [b"GET /healthz HTTP/1.1", b"Host: localhost", b"Host: localhost"]]
)
def test_a_request_without_one_host_is_refused(served, lines):
    host, _, port = served.url.removeprefix("http://").rstrip("/").rpartition(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        assert client.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("path", ["/", "/nothing", "/events", "/static/dashboard.js", "/snapshot.jpg"])
def test_every_answer_allows_files_of_this_server_alone(served, path):
    _, headers, _ = served.get(path)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-site"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/"]
)
def test_only_files_of_the_pages_are_static(served, path):
    assert served.get(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(served, method):
    assert served.get("/events", method)[0] == 405
    assert json.loads(served.get("/events")[2]) == []
