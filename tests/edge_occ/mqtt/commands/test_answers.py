from __future__ import annotations

import json
from typing import Literal

import pytest

from edge_occ.mqtt.commands.answers import MAX_REMEMBERED, AnswerMemory, CommandAck, CommandStatus, RequestOutcome
from edge_occ.mqtt.commands.requests import MuteRequest, RearmRequest


def ack(text: str) -> CommandAck:
    return CommandAck(device="d", ts=1, id=text, command="rearm", status=CommandStatus.DONE)


def rearm(text: str) -> RearmRequest:
    command: Literal["rearm"] = "rearm"
    return RearmRequest(id=text, command=command)


def test_an_answer_has_flat_keys_of_one_type():
    payload = json.loads(ack("a").to_json())
    assert payload == {
        "schema": "edge-occ/command-ack/1", "device": "d", "camera": "", "ts": 1, "id": "a", "command": "rearm",
        "status": "done", "reason": "",
    }  # fmt: skip


def test_a_reason_is_cut_to_what_an_answer_holds():
    assert len(RequestOutcome.failed("x" * 5000).reason) == 1000


def test_the_latest_requests_are_remembered_and_no_more():
    memory = AnswerMemory()
    for number in range(MAX_REMEMBERED + 1):
        memory.keep(rearm(str(number)), ack(str(number)))
    assert MAX_REMEMBERED == 256
    assert memory.find(rearm("0")) is None
    assert [memory.find(rearm(str(number))) for number in (1, 256)] == [ack("1"), ack("256")]


def test_an_id_of_another_request_is_an_error():
    memory = AnswerMemory()
    memory.keep(MuteRequest(id="a", command="mute", seconds=5), ack("a"))
    assert memory.find(MuteRequest(id="a", command="mute", seconds=5)) == ack("a")
    with pytest.raises(ValueError, match="used before"):
        memory.find(MuteRequest(id="a", command="mute", seconds=6))
    with pytest.raises(ValueError, match="used before"):
        memory.find(rearm("a"))
