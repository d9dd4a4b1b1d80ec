"""Commands of operators, carried out on a running station."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from edge_occ.bundle.operating_points import reject_above, reject_at_rate
from edge_occ.bundle.versions import roll_back
from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.errors import InputError, UserError
from edge_occ.mqtt.commands.answers import RequestOutcome
from edge_occ.mqtt.commands.handler import Later
from edge_occ.mqtt.commands.replies import Replies
from edge_occ.mqtt.commands.requests import MuteRequest, RecalibrateRequest, Request, ThresholdRequest
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.mqtt.messages import snapshot_info
from edge_occ.output.heatmap import encode_jpeg
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.control import Control
from edge_occ.runtime.recalibrating import RecalibrationPlan, Recalibrator


@dataclass(frozen=True)
class StationActions:
    """Parts that the commands of all cameras share.

    Attributes:
        control: of the thread that inspects.
        reload: asks for a reload, see :meth:`edge_occ.runtime.reload.ReloadRequests.ask`.
        recalibrator: recalibrates the bundle from frames of a camera.
        bundle: file of the bundle.
        sha256: digest that the bundle must have, if any.
    """

    control: Control
    reload: Callable[[], Future[str]]
    recalibrator: Recalibrator
    bundle: Path
    sha256: str | None = None


class CameraCommands:
    """Carries out the commands of one camera; a :class:`~edge_occ.mqtt.commands.handler.CommandHandler`.

    Args:
        camera: the camera.
        station: shared with the other cameras.
        replies: publishes snapshots.
        clock: replaced in tests.
    """

    def __init__(self, camera: Camera, station: StationActions, replies: Replies, clock: Clock = SYSTEM_CLOCK) -> None:
        self._camera, self._station, self._replies, self._clock = camera, station, replies, clock
        self._muted_until: float | None = None
        self._recalibration: tuple[RecalibrateRequest, Future[str]] | None = None
        self._actions: dict[str, Callable[[], RequestOutcome]] = {
            "snapshot": self._snapshot,
            "trigger": self._trigger,
            "rearm": self._rearm,
            "reload": self._reload,
            "rollback": self._rollback,
        }

    def handle(self, request: Request) -> RequestOutcome:
        """Carry out a request.

        Raises:
            UserError: it failed, for the reason in the error.
            concurrent.futures.CancelledError: the run ends.
        """
        if isinstance(request, MuteRequest):
            return self._mute(request.seconds)
        if isinstance(request, ThresholdRequest):
            return self._threshold(request)
        if isinstance(request, RecalibrateRequest):
            return self._recalibrate(request)
        return self._actions[request.command]()

    def tick(self) -> Later:
        """End the muting when its time is over; return what became of a recalibration."""
        if self._muted_until is not None and self._clock.monotonic() >= self._muted_until:
            self._muted_until = None
            self._station.control.submit(lambda: self._camera.mute(muted=False)).result()
        if self._recalibration is None or not self._recalibration[1].done():
            return ()
        request, done = self._recalibration
        self._recalibration = None
        return ((request, lambda: RequestOutcome.done(done.result())),)

    def _snapshot(self) -> RequestOutcome:
        inspection = None if self._camera.latest is None else self._camera.latest.inspection
        if inspection is None or self._camera.channel is None:
            return RequestOutcome.failed("no frame has been inspected yet")
        jpeg = encode_jpeg(inspection.frame.image)
        failure = self._replies.snapshot(jpeg, snapshot_info(inspection, self._camera.channel.topics.origin))
        return RequestOutcome.failed(failure) if failure else RequestOutcome.done(f"frame {inspection.frame.index}")

    def _trigger(self) -> RequestOutcome:
        if self._station.control.submit(self._camera.trigger).result():
            return RequestOutcome.done()
        return RequestOutcome.refused("the setting trigger.mode is not 'command'")

    def _rearm(self) -> RequestOutcome:
        ended = self._station.control.submit(self._camera.rearm).result()
        return RequestOutcome.done("the open event was ended" if ended else "no event was open")

    def _threshold(self, request: ThresholdRequest) -> RequestOutcome:
        def change() -> str:
            decision = self._camera.decision
            if request.rate is not None:
                decision = reject_at_rate(decision, request.rate)
            elif request.threshold is not None:
                decision = reject_above(decision, request.threshold)
            self._camera.decide(decision)
            return f"threshold {decision.reject.threshold:.6g}. {decision.guarantee()}"

        try:
            return RequestOutcome.done(self._station.control.submit(change).result())
        except InputError as error:
            return RequestOutcome.refused(f"expected {error.expected}; found {error.found}")

    def _reload(self) -> RequestOutcome:
        return RequestOutcome.done(self._station.reload().result())

    def _rollback(self) -> RequestOutcome:
        if self._station.sha256 is not None:
            return RequestOutcome.refused("this run accepts the bundle of --sha256 only")
        version = roll_back(self._station.bundle.resolve())
        try:
            summary = self._station.reload().result()
        except UserError as error:
            return RequestOutcome.failed(f"version {version.number} is in its place, but was not loaded: {error}")
        return RequestOutcome.done(f"version {version.number}: {summary}")

    def _recalibrate(self, request: RecalibrateRequest) -> RequestOutcome:
        if request.frames == 0:
            given_up = self._station.recalibrator.give_up()
            return RequestOutcome.done("the recalibration was given up" if given_up else "none was under way")
        if self._station.sha256 is not None:
            return RequestOutcome.refused("this run accepts the bundle of --sha256 only")
        if self._camera.name:
            return RequestOutcome.refused("several cameras share the bundle: run 'edge-occ recalibrate' on the device")
        control, camera = self._station.control, self._camera
        done = self._station.recalibrator.start(
            RecalibrationPlan(request.frames, request.threshold_only),
            lambda sink: control.submit(lambda: camera.add(sink)).result(),
            lambda sink: control.submit(lambda: camera.remove(sink)).result(),
        )
        self._recalibration = request, done
        return RequestOutcome.accepted(f"{request.frames} frames of good parts are collected; another answer follows")

    def _mute(self, seconds: int) -> RequestOutcome:
        self._station.control.submit(lambda: self._camera.mute(muted=seconds > 0)).result()
        self._muted_until = self._clock.monotonic() + seconds if seconds else None
        return RequestOutcome.done(f"events are muted for {seconds} s" if seconds else "events are not muted")


def serve_commands(cameras: Sequence[Camera], commands: CommandService, station: StationActions) -> None:
    """Answer the commands of all cameras from now on."""
    for camera in cameras:
        if camera.channel is not None and camera.publisher is not None:
            replies = Replies(camera.publisher.connection, camera.channel.topics, commands.stopped)
            camera.channel.serve(CameraCommands(camera, station, replies), replies)
    commands.start()
