"""Errors for users, and their exit codes.

UserError               2  wrong arguments, configuration or input
+-- EngineUnavailable   4  this machine cannot run the engine asked for
+-- FrameRefused        2  no engine scores this frame; others can follow
+-- GraphRefused        3  no version of the engine could run the graph, or not with this head
+-- ParityFailure       3  the engine's scores are not those of the bundle
+-- (edge_occ.common.errors)      bundle refused 3, source lost 5, hung 7
"""

from __future__ import annotations

LONGEST = 1000
"""Characters of one part of an error."""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


class UserError(Exception):
    """An error in three short parts, each cut at :data:`LONGEST` characters.

    Attributes:
        expected: the right state.
        found: the actual state.
        advice: the next thing to type.
        exit_code: exit status of the command.
    """

    exit_code = 2

    def __init__(self, expected: str, found: str, advice: str) -> None:
        expected, found, advice = (_cut(part) for part in (expected, found, advice))
        super().__init__(f"expected {expected}; found {found}; {advice}")
        self.expected, self.found, self.advice = expected, found, advice


class EngineUnavailable(UserError):
    """The engine asked for cannot run here."""

    exit_code = 4


class FrameRefused(UserError):
    """A frame that the engine does not score, of a wrong kind or too large; it can score others."""


class GraphRefused(UserError):
    """A graph that no engine could run, or a head that does not fit it."""

    exit_code = 3


class ParityFailure(UserError):
    """An engine's scores of the golden frames differ from the bundle's reference by more than the tolerance."""

    exit_code = 3
