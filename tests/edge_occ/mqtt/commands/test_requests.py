from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.mqtt.commands.requests import (
    MAX_BYTES,
    MAX_MUTE_SECONDS,
    CommandName,
    MuteRequest,
    RefusedRequest,
    ThresholdRequest,
    parse_request,
)

ARGUMENTS: dict[str, dict[str, object]] = {
    "threshold": {"rate": 0.05},
    "mute": {"seconds": 60},
    "recalibrate": {"frames": 200},
}


def encoded(**content):
    return json.dumps({"id": "a-1", "command": "rearm", **content}).encode()


def refusal(payload):
    with pytest.raises(RefusedRequest) as caught:
        parse_request(payload)
    return caught.value


@pytest.mark.parametrize("command", get_args(CommandName))
def test_every_command_that_can_be_enabled_has_a_request(command):
    request = parse_request(encoded(command=command, **ARGUMENTS.get(command, {})))
    assert (request.id, request.command) == ("a-1", command)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"a"', b"NaN", b"[" * 4000, b'{"a":' * 800]
)
def test_whatever_is_no_json_object_is_malformed(payload):
    error = refusal(payload)
    assert error.reason.startswith("malformed: not ")
    assert (error.id, error.command) == ("", "")


def test_a_request_has_a_limited_size():
    assert parse_request(encoded().ljust(MAX_BYTES)).id == "a-1"
    assert refusal(encoded().ljust(MAX_BYTES + 1)).reason == "4097 bytes, more than 4096"


@pytest.mark.parametrize(
    "bad",
    ["", "+", "#", "a/b", "a+", "a#", "$SYS", "-a", "a b", "a\n", "ä", "a\u0000", "a" * 65, 7, None, ["a"], {"a": 1}],
)
def test_an_id_that_could_be_taken_for_part_of_a_topic_is_refused_and_not_repeated(bad):
    error = refusal(encoded(id=bad))
    assert error.reason.startswith("malformed: id must be")
    assert (error.id, error.command) == ("", "rearm")


@pytest.mark.parametrize("bad", ["", "reboot", "REARM", 1, None, ["rearm"], "x" * 3000])
def test_an_unknown_command_is_refused_and_not_repeated(bad):
    error = refusal(encoded(command=bad))
    assert (error.reason, error.id, error.command) == ("unknown command", "a-1", "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"colour": "red"}, "malformed: colour: Extra"),
        ({"seconds": 5}, "malformed: seconds: Extra"),
        ({"x" * 3000: 5}, "malformed: " + "x" * 64 + ": Extra"),
        ({"command": "mute"}, "malformed: seconds: Field required"),
        ({"command": "mute", "seconds": -1}, "malformed: seconds: "),
        ({"command": "mute", "seconds": MAX_MUTE_SECONDS + 1}, "malformed: seconds: "),
        ({"command": "mute", "seconds": "60"}, "malformed: seconds: "),
        ({"command": "mute", "seconds": True}, "malformed: seconds: "),
        ({"command": "mute", "seconds": {"s": 1}}, "malformed: seconds: "),
        ({"command": "threshold"}, "malformed: Value error, one of rate and threshold is needed"),
        ({"command": "threshold", "rate": 0.1, "threshold": 1.0}, "malformed: Value error, one of rate"),
        ({"command": "threshold", "rate": 0}, "malformed: rate: "),
        ({"command": "threshold", "rate": 0.5}, "malformed: rate: "),
        ({"command": "threshold", "threshold": "1"}, "malformed: threshold: "),
    ],
)
def test_arguments_are_those_of_the_command(content, reason):
    error = refusal(encoded(**content))
    assert error.reason.startswith(reason)
    assert len(error.reason) < 200
    assert error.id == "a-1"


def test_numbers_that_are_not_finite_are_no_json():
    assert refusal(b'{"id":"a","command":"threshold","threshold":NaN}').reason == "malformed: not JSON in UTF-8"
    assert refusal(b'{"id":"a","command":"threshold","threshold":1e999}').reason.startswith("malformed: threshold: ")


def test_whole_numbers_are_numbers():
    assert parse_request(encoded(command="threshold", threshold=2)) == ThresholdRequest(
        id="a-1", command="threshold", threshold=2.0
    )
    assert parse_request(encoded(command="mute", seconds=0)) == MuteRequest(id="a-1", command="mute", seconds=0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
KEYS = st.sampled_from(["id", "command", "rate", "threshold", "seconds", "frames"])
REQUESTS = st.dictionaries(KEYS | st.text(max_size=3), JSON | st.sampled_from(get_args(CommandName)))


def outcome(payload):
    """The command and an empty reason, or no command and why it was refused."""
    try:
        return parse_request(payload).command, "", ""
    except RefusedRequest as error:
        return "", error.reason, error.id + error.command


@given(st.binary(max_size=MAX_BYTES + 10) | REQUESTS.map(lambda content: json.dumps(content).encode()))
def test_any_bytes_are_a_request_or_refused_with_a_reason(payload):
    command, reason, repeated = outcome(payload)
    assert (command in get_args(CommandName)) == (reason == "")
    assert len(reason) < 300
    assert not set("+#/ ") & set(repeated)
