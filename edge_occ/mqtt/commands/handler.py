"""The seam of commands: what carries a valid request out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from edge_occ.mqtt.commands.answers import RequestOutcome
from edge_occ.mqtt.commands.requests import Request

Later: TypeAlias = Sequence[tuple[Request, Callable[[], RequestOutcome]]]
"""Requests that were accepted before and have come to their end, each with a function that returns the outcome, or
raises as :meth:`CommandHandler.handle` does."""


class CommandHandler(Protocol):
    """Carries out the commands of one camera, each in full before the next, in one dedicated thread."""

    def handle(self, request: Request) -> RequestOutcome:
        """Carry out an enabled request that has not been carried out before. There is no time limit.

        Raises:
            UserError: it failed, for the reason in the error.
            concurrent.futures.CancelledError: the run ends.
        """

    def tick(self) -> Later:
        """Continue the work that earlier commands left pending; called several times a second between two commands.

        It raises as :meth:`handle`.
        """


class MemoryHandler:
    """A handler that keeps the requests in a list; for tests.

    Args:
        answer: returns the outcome of a request, or raises; by default everything is done.

    Attributes:
        requests: those that were handled, in order.
        ticks: number of calls of :meth:`tick`.
        later: returned by the next call of :meth:`tick`.
    """

    def __init__(
        self, answer: Callable[[Request], RequestOutcome] = lambda request: RequestOutcome.done(request.command)
    ) -> None:
        self._answer = answer
        self.requests: list[Request] = []
        self.ticks = 0
        self.later: Later = ()

    def handle(self, request: Request) -> RequestOutcome:
        """Keep a request."""
        self.requests.append(request)
        return self._answer(request)

    def tick(self) -> Later:
        """Count the call."""
        self.ticks += 1
        later, self.later = self.later, ()
        return later
