"""The contract of command handlers, for the one of the tests and for the real one of a camera.

tests/edge_occ/runtime/test_commanding.py runs the real one in a station, through a broker.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import pytest
from discs import part, write

from edge_occ.bundle.operating_points import DecisionConfig
from edge_occ.common.errors import InputError, UserError
from edge_occ.mqtt.commands.answers import CommandStatus, RequestOutcome
from edge_occ.mqtt.commands.handler import CommandHandler, MemoryHandler
from edge_occ.mqtt.commands.replies import Replies
from edge_occ.mqtt.commands.requests import RearmRequest, RecalibrateRequest, RollbackRequest, parse_request
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.runtime.camera import Camera, CameraPlan
from edge_occ.runtime.commanding import CameraCommands, StationActions
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.control import Control
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.model import read_model
from edge_occ.runtime.recalibrating import Recalibrator

REARM = RearmRequest(id="a", command="rearm")
RECALIBRATE = RecalibrateRequest(id="b", command="recalibrate", frames=5)
ROLLBACK = RollbackRequest(id="c", command="rollback")
ERROR = InputError("an earlier version", "none", "recalibrate first")


@dataclass
class Case:
    """A handler under test.

    Attributes:
        handler: the handler; it accepts :data:`RECALIBRATE`, and :data:`ROLLBACK` fails.
        end_run: ends the run.
        complete: brings the accepted request to its end, with a line or an error.
    """

    handler: CommandHandler
    end_run: Callable[[], None]
    complete: Callable[[str | Exception], None]


def memory() -> Case:
    ended = False

    def end_run() -> None:
        nonlocal ended
        ended = True

    def answer(request: object) -> RequestOutcome:
        if ended:
            raise CancelledError
        if request == ROLLBACK:
            raise ERROR
        return RequestOutcome.accepted() if request == RECALIBRATE else RequestOutcome.done()

    def complete(result: str | Exception) -> None:
        def outcome() -> RequestOutcome:
            if isinstance(result, Exception):
                raise result
            return RequestOutcome.done(result)

        handler.later = ((RECALIBRATE, outcome),)

    handler = MemoryHandler(answer)
    return Case(handler, end_run, complete)


class Recalibrations:
    """In place of a :class:`Recalibrator`, which needs frames and a process: its end is set by the test."""

    def __init__(self) -> None:
        self.done: Future[str] = Future()

    def start(self, *arguments: object) -> Future[str]:
        return self.done

    def give_up(self) -> bool:
        return False

    def complete(self, result: str | Exception) -> None:
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


def reloaded() -> Future[str]:
    done: Future[str] = Future()
    done.set_result("nothing has changed")
    return done


@pytest.fixture(params=["memory", "camera"])
def case(request, tmp_path, tiny_bundle):
    if request.param == "memory":
        yield memory()
        return
    write(tmp_path / "pictures" / "0.png", part(0))
    model, _ = read_model(tiny_bundle, None, DecisionConfig())
    config = RunConfig.model_validate({"engine": {"name": "cpu", "threads": 1}})
    plan = CameraPlan(config, None, False, True, Heartbeat([]), lambda _: None, CommandService(()))
    control, recalibrations = Control(), Recalibrations()
    control.notify(control.run_pending)  # no frame is being inspected
    actions = StationActions(control, reloaded, cast(Recalibrator, recalibrations), tmp_path / "line.occ")
    with ExitStack() as stack:
        camera = Camera("", str(tmp_path / "pictures"), plan, model, stack)
        # Without MQTT there is no picture to reply with.
        handler = CameraCommands(camera, actions, cast(Replies, None))
        yield Case(handler, control.close, recalibrations.complete)


@pytest.mark.parametrize(
    "content",
    [
        b'"command": "snapshot"',
        b'"command": "trigger"',
        b'"command": "rearm"',
        b'"command": "threshold", "rate": 0.1',
        b'"command": "threshold", "rate": 0.000001',
        b'"command": "reload"',
        b'"command": "mute", "seconds": 5',
        b'"command": "recalibrate", "frames": 0',
    ],
)
def test_every_request_has_one_outcome(case: Case, content):
    outcome = case.handler.handle(parse_request(b'{"id": "x", ' + content + b"}"))
    assert isinstance(outcome, RequestOutcome)
    assert outcome.status is not CommandStatus.ACCEPTED
    assert not case.handler.tick()


def test_a_request_that_fails_raises_the_reason_and_the_next_one_is_carried_out(case: Case):
    with pytest.raises(UserError):
        case.handler.handle(ROLLBACK)
    assert case.handler.handle(REARM).status is CommandStatus.DONE


def test_the_end_of_the_run_cancels_a_request(case: Case):
    case.end_run()
    with pytest.raises(CancelledError):
        case.handler.handle(REARM)


def test_an_accepted_request_comes_to_its_end_once(case: Case):
    assert case.handler.handle(RECALIBRATE).status is CommandStatus.ACCEPTED
    assert not case.handler.tick()
    case.complete("version 2")
    ((ended, outcome),) = case.handler.tick()
    assert (ended, outcome()) == (RECALIBRATE, RequestOutcome.done("version 2"))
    assert not case.handler.tick()


def test_an_accepted_request_that_fails_raises_the_reason_when_its_outcome_is_asked_for(case: Case):
    case.handler.handle(RECALIBRATE)
    case.complete(ERROR)
    ((_, outcome),) = case.handler.tick()
    with pytest.raises(InputError) as caught:
        outcome()
    assert caught.value is ERROR


def test_the_handler_for_tests_keeps_requests():
    handler = MemoryHandler()
    assert handler.handle(REARM) == RequestOutcome.done("rearm")
    handler.tick()
    assert (handler.requests, handler.ticks) == ([REARM], 1)
