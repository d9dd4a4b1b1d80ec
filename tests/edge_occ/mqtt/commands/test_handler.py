"""The seam of command handlers; tests/edge_occ/runtime/test_commanding.py runs the real one in a station."""

from __future__ import annotations

from edge_occ.mqtt.commands.answers import RequestOutcome
from edge_occ.mqtt.commands.handler import CommandHandler, MemoryHandler
from edge_occ.mqtt.commands.requests import RearmRequest


def test_the_handler_for_tests_keeps_requests_and_answers_them():
    handler = MemoryHandler()
    typed: CommandHandler = handler
    request = RearmRequest(id="a", command="rearm")
    assert typed.handle(request) == RequestOutcome.done("rearm")
    typed.tick()
    assert (handler.requests, handler.ticks) == ([request], 1)
