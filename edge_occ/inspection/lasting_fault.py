"""A fault that lasts is a state of the device: every frame is faulty, or a source that should give frames is silent."""

from __future__ import annotations

import math

from edge_occ.sources.faults import Fault


class LastingFault:
    """Tracks for how long there was no good frame; pure, time comes with every call, in seconds.

    Args:
        after: faults, or silence, of at least so long are a state.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._frame_at = math.inf
        self._fault_since: float | None = None
        self._fault: Fault | None = None

    def expect_frames(self, now: float) -> None:
        """Frames should come from now on without a pause; before, and where this is not called, silence is no fault."""
        self._frame_at = now

    def good(self, now: float) -> None:
        """A frame was inspected."""
        self._heard(now)
        self._fault_since = self._fault = None

    def fault(self, fault: Fault, now: float) -> None:
        """A frame could not be inspected."""
        self._heard(now)
        self._fault = fault
        if self._fault_since is None:
            self._fault_since = now

    def state(self, now: float) -> tuple[str, str] | None:
        """Return the lasting fault: a reason, which stays the same while it lasts, and a text; ``None`` without one."""
        if now - self._frame_at >= self._after:
            return "silent", f"silent: no frame from the source for {self._after:g} s or more"
        if self._fault is None or self._fault_since is None or now - self._fault_since < self._after:
            return None
        reason = self._fault.reason.value
        return reason, f"{reason}: {self._fault.detail}"

    def _heard(self, now: float) -> None:
        if not math.isinf(self._frame_at):
            self._frame_at = now
