"""From ONNX to a plan: what TensorRT is told, and how its long work is watched and stopped."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from engines.base import FRAME, MAP, SCORE, heads_among
from engines.tensorrt.api import TensorRT

SMALLEST = (2, 2)
"""Least height and width of a frame; the graph is exported for no less."""


@dataclass(frozen=True)
class Recipe:
    """One plan to build.

    Attributes:
        onnx: the serialised model.
        strong: keep the model's own types; else its float32 may become fp16 wherever TensorRT finds that faster.
        frame: height and width to be fastest at, between :data:`SMALLEST` and ``max_frame``.
        max_frame: largest height and width.
        workspace: bytes of GPU memory that one layer may use for its intermediate results.
        timings: an earlier timing cache, or nothing.
    """

    onnx: bytes
    strong: bool
    frame: tuple[int, int]
    max_frame: tuple[int, int]
    workspace: int
    timings: bytes = b""


@dataclass(frozen=True)
class Built:
    """A serialised engine, and the timing cache that the next build should begin with."""

    plan: bytes
    timings: bytes


def build_plan(
    api: TensorRT,
    recipe: Recipe,
    report: Callable[[float], None],
    configure: Callable[[Any], None] | None = None,
) -> Built:
    """Parse, optimise and serialise; takes seconds to minutes.

    Args:
        api: TensorRT.
        recipe: what to build.
        report: told how much is done, 0 to 1; what it raises stops the build and is raised again, as is Ctrl-C.
        configure: last changes to the builder's configuration.

    Raises:
        EngineUnavailable: with TensorRT's own words.
    """
    outcome = _build(api, recipe, _monitor(api.trt, report), configure)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _build(
    api: TensorRT,
    recipe: Recipe,
    monitor: Any,  # noqa: ANN401
    configure: Callable[[Any], None] | None,
) -> Built | BaseException:
    # Errors are returned: one raised here would keep the builder alive, through its traceback, until long after the
    # CUDA context is gone.
    trt = api.trt
    api.said.clear()
    builder = trt.Builder(api.logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if recipe.strong else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, api.logger)
    parsed = parser.parse(recipe.onnx)
    inputs = {network.get_input(i).name for i in range(network.num_inputs)}
    outputs = {network.get_output(i).name for i in range(network.num_outputs)}
    reasons = [str(parser.get_error(i)) for i in range(parser.num_errors)]
    # The parser calls rubbish parsed, without an error, and leaves the network empty.
    if not parsed or reasons or not _inspects(inputs, outputs):
        found = f"inputs {sorted(inputs)}, outputs {sorted(outputs)}"
        return api.unavailable("an inspection graph that TensorRT can parse", "; ".join(reasons) or found)

    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector has nothing to tell
    # Its 10 bits of mantissa would spoil the head, whose distances are differences of large numbers.
    config.clear_flag(trt.BuilderFlag.TF32)
    if not recipe.strong:
        config.set_flag(trt.BuilderFlag.FP16)
    config.add_optimization_profile(_profile(builder, recipe))
    timings = config.create_timing_cache(recipe.timings) or config.create_timing_cache(b"")
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
    """Whether a graph goes from a frame and heads to score and map."""
    try:
        heads_among(inputs)
    except ValueError:
        return False
    return FRAME in inputs and outputs >= {SCORE, MAP}


class Phases:
    """Nested phases of a build as one fraction that never falls.

    TensorRT names a phase, its parent and its number of steps when the phase begins, then every step that is done.

    Args:
        report: told the fraction, 0 to 1, whenever it grew by a thousandth.
    """

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report
        self._phases: dict[str, list[Any]] = {}
        self._told = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        self._phases[name] = [parent, max(1, steps), 0]

    def step(self, name: str, step: int) -> None:
        """Step ``step`` of a phase, counted from 0, is done."""
        if name in self._phases:
            self._phases[name][2] = step + 1
        done = max((self._done(name) for name, (parent, _, _) in self._phases.items() if parent is None), default=0.0)
        if done >= self._told + 1e-3:
            self._told = done
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
            # TensorRT swallows what a callback raises, Ctrl-C included; it is kept until the build has ended.
            try:
                call(*arguments)
            except BaseException as error:  # noqa: BLE001
                self.stopped = error.with_traceback(None)

    return Monitor()


def _profile(builder: Any, recipe: Recipe) -> Any:  # noqa: ANN401
    profile = builder.create_optimization_profile()
    profile.set_shape(FRAME, (*SMALLEST, 3), (*recipe.frame, 3), (*recipe.max_frame, 3))
    return profile
