"""ONNX to a plan: the builder's configuration, its progress, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from engines.base import FRAME, MAP, SCORE, heads_among
from engines.tensorrt.api import TensorRT

SMALLEST = (2, 2)
"""Smallest height and width of a frame, as in the exported graph."""


@dataclass(frozen=True)
class BuildRequest:
    """One plan to build; it is strongly typed, that is, it keeps the types of the model.

    Attributes:
        onnx: the serialised model.
        frame: height and width to optimise for, between :data:`SMALLEST` and ``max_frame``.
        max_frame: largest height and width.
        workspace: bytes of GPU memory that one layer may use for its intermediate results.
        timings: an earlier timing cache, or nothing.
    """

    onnx: bytes
    frame: tuple[int, int]
    max_frame: tuple[int, int]
    workspace: int
    timings: bytes = b""


@dataclass(frozen=True)
class Built:
    """A serialised engine, and the timing cache for the next build."""

    plan: bytes
    timings: bytes


def build_plan(
    api: TensorRT,
    request: BuildRequest,
    report: Callable[[float], None],
    configure: Callable[[Any], None] | None = None,
) -> Built:
    """Parse, optimise and serialise; takes seconds to minutes.

    Args:
        api: TensorRT.
        request: the plan to build.
        report: called with the fraction that is done, 0 to 1; an error that it raises, also Ctrl-C, stops the build and
            is raised again.
        configure: last changes to the builder's configuration.

    Raises:
        EngineUnavailable: with TensorRT's own message.
    """
    outcome = _build(api, request, _monitor(api.trt, report), configure)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _build(
    api: TensorRT,
    request: BuildRequest,
    monitor: Any,  # noqa: ANN401
    configure: Callable[[Any], None] | None,
) -> Built | BaseException:
    # Errors are returned: the traceback of one raised here would keep the builder alive after the CUDA context is gone.
    trt = api.trt
    api.errors.clear()
    builder = trt.Builder(api.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, api.logger)
    parsed = parser.parse(request.onnx)
    inputs = {network.get_input(i).name for i in range(network.num_inputs)}
    outputs = {network.get_output(i).name for i in range(network.num_outputs)}
    reasons = [str(parser.get_error(i)) for i in range(parser.num_errors)]
    # For input that is no model the parser reports success, and leaves the network empty.
    if not parsed or reasons or not _inspects(inputs, outputs):
        found = f"inputs {sorted(inputs)}, outputs {sorted(outputs)}"
        return api.unavailable("an inspection graph that TensorRT can parse", "; ".join(reasons) or found)

    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector has no details
    # TF32's 10 bits of mantissa are too few for the head, whose distances are differences of large numbers.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.add_optimization_profile(_profile(builder, request))
    timings = config.create_timing_cache(request.timings) or config.create_timing_cache(b"")
    if not config.set_timing_cache(timings, False):  # of another device
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    config.progress_monitor = monitor
    if configure is not None:
        configure(config)

    plan = builder.build_serialized_network(network, config)
    if monitor.stopped is not None:
        stopped: BaseException = monitor.stopped
        return stopped
    if plan is None:
        return api.unavailable("a TensorRT engine of this graph")
    return Built(bytes(plan), bytes(config.get_timing_cache().serialize()))


def _inspects(inputs: AbstractSet[str], outputs: AbstractSet[str]) -> bool:
    """Return whether a graph maps a frame and heads to score and map."""
    try:
        heads_among(inputs)
    except ValueError:
        return False
    return FRAME in inputs and outputs >= {SCORE, MAP}


class Phases:
    """Progress of a build's nested phases as one fraction that never decreases.

    TensorRT reports a phase with its parent and its number of steps when the phase begins, then each finished step.

    Args:
        report: called with the fraction, 0 to 1, whenever it has grown by a thousandth.
    """

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report
        self._phases: dict[str, list[Any]] = {}
        self._reported = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        self._phases[name] = [parent, max(1, steps), 0]

    def step(self, name: str, step: int) -> None:
        """Step ``step`` of a phase, counted from 0, is done."""
        if name in self._phases:
            self._phases[name][2] = step + 1
        done = max((self._done(name) for name, (parent, _, _) in self._phases.items() if parent is None), default=0.0)
        if done >= self._reported + 1e-3:
            self._reported = done
            self._report(done)

    def finish(self, name: str) -> None:
        """A phase ends, maybe before its last step."""
        self._phases.pop(name, None)

    def _done(self, name: str) -> float:
        _, steps, done = self._phases[name]
        within = max((self._done(child) for child, phase in self._phases.items() if phase[0] == name), default=0.0)
        return float(min(1.0, (done + within) / steps))


def _monitor(trt: ModuleType, report: Callable[[float], None]) -> Any:  # noqa: ANN401
    phases = Phases(report)

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._try(phases.start, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._try(phases.step, phase_name, step)
            return self.stopped is None

        def phase_finish(self, phase_name: str) -> None:
            self._try(phases.finish, phase_name)

        def _try(self, call: Callable[..., None], *arguments: object) -> None:
            # TensorRT drops errors that a callback raises, also Ctrl-C; this one is kept until the build has ended.
            try:
                call(*arguments)
            except BaseException as error:  # noqa: BLE001
                self.stopped = error.with_traceback(None)

    return Monitor()


def _profile(builder: Any, request: BuildRequest) -> Any:  # noqa: ANN401
    profile = builder.create_optimization_profile()
    profile.set_shape(FRAME, (*SMALLEST, 3), (*request.frame, 3), (*request.max_frame, 3))
    return profile
