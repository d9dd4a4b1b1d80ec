"""Which plan to use: the one in the cache, or one that is built now; strongly typed, weakly, or whichever is faster."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from engines.base import EngineOptions, Graph, Progress
from engines.cuda import jetson
from engines.cuda.driver import Device
from engines.errors import EngineUnavailable, UserError
from engines.tensorrt.api import TensorRT
from engines.tensorrt.build import Recipe, build_plan
from engines.tensorrt.plan import Machine, Plan, PlanRejected, Request
from engines.tensorrt.plan_cache import PlanCache
from engines.tensorrt.session import Buffers, Session

_STRONG_IS_ENOUGH = (10, 12)
"""From this version NVIDIA calls strong typing complete; before it, some fast kernels were for weak typing alone."""

_WORKSPACE_SHARE = 0.5
"""Of the free memory.  On a Jetson it is everybody's: the rest is for the weights that the builder holds several times
over, for the kernels it tries, and for the programs of the line."""

_RUNS = 50
"""Frames whose median decides between two plans."""

_log = logging.getLogger("engines.tensorrt.engine")


@dataclass(frozen=True)
class Order:
    """One engine to be opened.

    Attributes:
        graph: model and head.
        weak: the fp32 model, for a weakly typed build of an fp16 graph.
        options: settings.
        typing: ``strong``, ``weak``, or ``faster``; see :func:`choose_typing`.
        progress: told of a build.
    """

    graph: Graph
    weak: bytes | None
    options: EngineOptions
    typing: str
    progress: Progress

    @property
    def usual_frame(self) -> tuple[int, int]:
        """Height and width to be fastest at, not above the largest."""
        (height, width), (tallest, widest) = self.options.frame, self.options.max_frame
        return min(height, tallest), min(width, widest)


def choose_typing(asked: str, version: tuple[int, int], precision: str, weak: bytes | None) -> str:
    """What to build: ``strong``, ``weak``, or ``faster``, which is both.

    Args:
        asked: :attr:`engines.base.EngineOptions.typing`.
        version: TensorRT's major and minor version.
        precision: of the graph; weak typing concerns only fp16.
        weak: the model for a weakly typed build, if there is one.

    Raises:
        UserError: weak typing with a TensorRT that no longer needs or has it.
    """
    if asked == "weak" and version >= _STRONG_IS_ENOUGH:
        raise UserError(
            "TensorRT before 10.12 for weak typing",
            f"TensorRT {version[0]}.{version[1]}",
            "set engine.typing to auto in --config",
        )
    if asked == "strong" or version >= _STRONG_IS_ENOUGH or precision != "fp16" or weak is None:
        return "strong"
    return "weak" if asked == "weak" else "faster"


def open_session(api: TensorRT, buffers: Buffers, order: Order) -> tuple[Session, str]:
    """Load the order's plan, from the cache if it is there, else by building it.

    Returns:
        The session, without a head yet, and its typing, ``strong`` or ``weak``.

    Raises:
        EngineUnavailable: the cache cannot be written, or TensorRT cannot build or load the plan.
    """
    cache = PlanCache(order.options.cache)
    request, machine = _request(order), machine_of(api, buffers.driver.device)
    try:
        session = _cached(api, buffers, cache, request, machine)
    except PlanRejected:
        session = None  # told and put away below, under the lock: another process may be mending it
    if session is not None:
        return session
    cache.require_writable()
    with cache.lock(lambda: order.progress("waiting for another process that builds an engine", 0.0)):
        try:
            session = _cached(api, buffers, cache, request, machine)
        except PlanRejected as rejected:
            _log.warning(
                "the cached engine is not used: %s; it was moved to %s and is built anew",
                rejected,
                cache.quarantine(request),
            )
        return session or _build(api, buffers, order, cache, machine)


def machine_of(api: TensorRT, device: Device) -> Machine:
    """All that a plan depends on besides its request."""
    return Machine(
        tensorrt=api.text,
        gpu=device.name,
        capability="{}.{}".format(*device.capability),
        multiprocessors=device.multiprocessors,
        driver=device.driver,
        l4t=jetson.l4t_release(),
        power_mode=jetson.power_mode(),
    )


def read_layers(text: str) -> dict[str, Any]:
    """The inspector's JSON in one form: TensorRT 11.4 calls ``I/O Tensors`` what was ``Bindings`` before."""
    told = json.loads(text)
    return {"layers": told.get("Layers", []), "tensors": told.get("I/O Tensors", told.get("Bindings", []))}


def _request(order: Order) -> Request:
    weak = order.weak if order.typing != "strong" else None
    return Request(
        graph=hashlib.sha256(order.graph.onnx).hexdigest(),
        weak=None if weak is None else hashlib.sha256(weak).hexdigest(),
        precision=order.graph.precision,
        typing=order.typing,
        frame=order.usual_frame,
        max_frame=order.options.max_frame,
    )


def _cached(
    api: TensorRT, buffers: Buffers, cache: PlanCache, request: Request, machine: Machine
) -> tuple[Session, str] | None:
    plan = cache.look(request, machine)
    return None if plan is None else (Session(api, plan.data, buffers), str(plan.facts.get("typing", request.typing)))


def _build(api: TensorRT, buffers: Buffers, order: Order, cache: PlanCache, machine: Machine) -> tuple[Session, str]:
    request = _request(order)
    start = time.monotonic()
    plans: dict[str, bytes] = {}
    for typing in ("strong", "weak") if order.typing == "faster" else (order.typing,):
        plans[typing] = _build_one(api, buffers, order, typing, cache, machine)
    medians = {typing: _median(api, plan, buffers, order) for typing, plan in plans.items()} if len(plans) > 1 else {}
    typing = min(medians, key=medians.__getitem__) if medians else order.typing
    facts = {
        "typing": typing,
        "medians_ms": medians,
        "build_seconds": round(time.monotonic() - start, 1),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        session = Session(api, plans[typing], buffers)
    except PlanRejected as rejected:
        raise EngineUnavailable(
            "a plan that TensorRT can load after building it", str(rejected), "run with --engine cpu"
        ) from rejected
    try:
        cache.store(request, machine, Plan(plans[typing], facts))
        cache.keep_layers(request, json.dumps(read_layers(session.layers())))
    except (OSError, ValueError) as error:
        _log.warning("the engine is not kept whole, and the next start may build it again: %s", error)
    except BaseException:
        session.close()
        raise
    return session, typing


def _build_one(api: TensorRT, buffers: Buffers, order: Order, typing: str, cache: PlanCache, machine: Machine) -> bytes:
    options, onnx = order.options, order.weak if typing == "weak" and order.weak is not None else order.graph.onnx
    what = f"building the TensorRT engine, {order.graph.precision}, {typing}ly typed"
    order.progress(what, 0.0)
    recipe = Recipe(
        onnx=onnx,
        strong=typing == "strong",
        frame=order.usual_frame,
        max_frame=options.max_frame,
        workspace=int(buffers.driver.free_memory() * _WORKSPACE_SHARE),
        timings=cache.timings(machine),
    )
    built = build_plan(api, recipe, lambda done: order.progress(what, done))
    try:
        cache.keep_timings(machine, built.timings)
    except OSError as error:
        _log.warning("the timing cache is not kept: %s", error)
    order.progress(what, 1.0)
    return built.plan


def _median(api: TensorRT, plan: bytes, buffers: Buffers, order: Order) -> float:
    session = Session(api, plan, buffers)
    try:
        session.set_head(order.graph.head)
        return session.median_ms(np.zeros((*order.usual_frame, 3), np.uint8), _RUNS)
    finally:
        session.close()
