"""The root of every error that a user may see.

UserError               2  wrong arguments, configuration or input
+-- EngineUnavailable   4  this machine cannot run the engine asked for
+-- FrameRefused        2  no engine scores this frame; the next one may be in order
+-- GraphRefused        3  no version of the engine could run the graph
+-- ParityFailure       3  the engine does not compute what the bundle says it must
+-- (edge_occ.common.errors)      bundle refused 3, source lost 5, hung 7
"""

from __future__ import annotations

LONGEST = 1000
"""Characters of one part of an error."""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


class UserError(Exception):
    """An error told in three short parts; what one of them quotes is cut at :data:`LONGEST` characters.

    Attributes:
        expected: what should have been there.
        found: what was there instead.
        advice: what to type next.
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
    """A frame that the engine does not score, as of a wrong kind or too large; the engine can go on with others."""


class GraphRefused(UserError):
    """The graph is wrong in itself, whatever runs it."""

    exit_code = 3


class ParityFailure(UserError):
    """Golden frames scored by this engine differ from the bundle's reference beyond tolerance."""

    exit_code = 3
