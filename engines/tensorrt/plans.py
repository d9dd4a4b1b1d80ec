"""The plan of a graph for this machine, from the cache or built now."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from datetime import datetime, timezone
from typing import Any

from engines.base import EngineOptions, Graph, Progress
from engines.cuda import jetson
from engines.cuda.driver import Device
from engines.errors import EngineUnavailable
from engines.tensorrt.api import TensorRT
from engines.tensorrt.build import BuildRequest, build_plan
from engines.tensorrt.plan import Plan, PlanKey, PlanRejected, Platform
from engines.tensorrt.plan_cache import PlanCache
from engines.tensorrt.session import Buffers, Session

_WORKSPACE_SHARE = 0.5
"""Of the free memory.  A Jetson shares its memory with the host: the rest is for the weights, which the builder holds
several times, for the kernels it tries, and for the other programs of the line."""

_log = logging.getLogger("engines.tensorrt.engine")


def open_session(api: TensorRT, buffers: Buffers, graph: Graph, options: EngineOptions, progress: Progress) -> Session:
    """Load the graph's plan, from the cache if it is there, else after building it.

    Returns:
        The session, still without a head.

    Raises:
        EngineUnavailable: the cache cannot be written, or TensorRT cannot build or load the plan.
    """
    cache = PlanCache(options.cache)
    key, platform = plan_key(graph, options), platform_of(api, buffers.driver.device)
    try:
        session = _cached(api, buffers, cache, key, platform)
    except PlanRejected:
        session = None  # looked at again under the lock: another process may be replacing it
    if session is not None:
        return session
    cache.require_writable()
    with cache.lock(lambda: progress("waiting for another process that builds an engine", 0.0)):
        try:
            session = _cached(api, buffers, cache, key, platform)
        except PlanRejected as rejected:
            _log.warning(
                "the cached engine is not used: %s; it was moved to %s and is built anew",
                rejected,
                cache.quarantine(key),
            )
        if session is not None:
            return session
        start = time.monotonic()
        plan = _build(api, buffers, cache, graph, key, platform, progress)
        facts = {
            "build_seconds": round(time.monotonic() - start, 1),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        return _store(api, buffers, cache, key, platform, Plan(plan, facts))


def plan_key(graph: Graph, options: EngineOptions) -> PlanKey:
    """Return what the plan is built from; the usual frame is not larger than the largest."""
    (height, width), (tallest, widest) = options.frame, options.max_frame
    return PlanKey(
        graph=hashlib.sha256(graph.onnx).hexdigest(),
        precision=graph.precision,
        frame=(min(height, tallest), min(width, widest)),
        max_frame=options.max_frame,
    )


def platform_of(api: TensorRT, device: Device) -> Platform:
    """Return everything that a plan depends on besides its key."""
    return Platform(
        tensorrt=api.text,
        gpu=device.name,
        capability="{}.{}".format(*device.capability),
        multiprocessors=device.multiprocessors,
        driver=device.driver,
        l4t=jetson.l4t_release(),
        power_mode=jetson.power_mode(),
    )


def read_layers(text: str) -> dict[str, Any]:
    """Return the inspector's JSON in one form: TensorRT 11.4 calls ``I/O Tensors`` what was ``Bindings`` before."""
    layers = json.loads(text)
    return {"layers": layers.get("Layers", []), "tensors": layers.get("I/O Tensors", layers.get("Bindings", []))}


def _cached(api: TensorRT, buffers: Buffers, cache: PlanCache, key: PlanKey, platform: Platform) -> Session | None:
    plan = cache.look(key, platform)
    return None if plan is None else Session(api, plan.data, buffers)


def _build(
    api: TensorRT,
    buffers: Buffers,
    cache: PlanCache,
    graph: Graph,
    key: PlanKey,
    platform: Platform,
    progress: Progress,
) -> bytes:
    step = f"building the TensorRT engine, {key.precision}"
    progress(step, 0.0)
    request = BuildRequest(
        onnx=graph.onnx,
        frame=key.frame,
        max_frame=key.max_frame,
        workspace=int(buffers.driver.free_memory() * _WORKSPACE_SHARE),
        timings=cache.timings(platform),
    )
    built = build_plan(api, request, lambda done: progress(step, done))
    try:
        cache.keep_timings(platform, built.timings)
    except OSError as error:
        _log.warning("the timing cache is not kept: %s", error)
    progress(step, 1.0)
    return built.plan


def _store(api: TensorRT, buffers: Buffers, cache: PlanCache, key: PlanKey, platform: Platform, plan: Plan) -> Session:
    try:
        session = Session(api, plan.data, buffers)
    except PlanRejected as rejected:
        raise EngineUnavailable(
            "a plan that TensorRT can load after building it", str(rejected), "run with --engine cpu"
        ) from rejected
    try:
        cache.store(key, platform, plan)
        cache.keep_layers(key, json.dumps(read_layers(session.layers())))
    except (OSError, ValueError) as error:
        _log.warning("the engine is not kept whole, and the next start may build it again: %s", error)
    except BaseException:
        session.close()
        raise
    return session
