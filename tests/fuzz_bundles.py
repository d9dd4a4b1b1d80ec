"""Bundles that were changed at random, opened and run.

``python tests/fuzz_bundles.py [COUNT]`` opens, verifies and uses many, in a process that is stopped if it hangs, and
prints the figures of ``docs/security.md``.
"""

from __future__ import annotations

import json
import random
import resource
import select
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import cv2
from discs import part, spoil
from mutations import BASE, mutated, unpack

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.loading import load_engine
from edge_occ.common.printable import printable
from engines.errors import UserError


def outcome(path: Path, original: list[bool]) -> str:
    """Open, verify and use a bundle as the commands do: ``refused``, ``harmless``, ``engine`` or ``harmful``.

    Args:
        path: the bundle.
        original: verdicts of the unchanged bundle on its golden frames.

    Raises:
        Exception: anything that would be a traceback.
    """
    try:
        bundle = read_bundle(path)
        json.dumps(bundle.manifest.model_dump(mode="json", by_alias=True), ensure_ascii=False, allow_nan=False).encode()
        printable(bundle.model_card)
        guarantee(bundle.manifest.calibration)
        verdicts = verdicts_of(bundle)
        for precision in bundle.precisions[1:]:
            load_engine(bundle, "cpu", precision).engine.close()
    except UserError as error:
        if not (error.expected and error.found and error.advice):
            raise
        return "refused" if error.exit_code == 3 else f"status {error.exit_code}"
    return "harmless" if verdicts == original else "harmful"


def verdicts_of(bundle: Bundle) -> list[bool]:
    """Verdicts on the frames of :func:`frames`, through the parity gate."""
    judge = bundle.conformal_threshold()
    with closing(load_engine(bundle, "cpu").engine) as engine:
        return [judge.verdict(engine.infer(frame).score).anomalous for frame in frames()]


@cache
def frames() -> list[Any]:
    """A good part, and one with a red spot; of the size that the base was trained on."""
    good, bad = part(300), part(301)
    spoil(bad, "spot", 1, hidden=False)
    return [cv2.resize(image, (56, 56), interpolation=cv2.INTER_AREA) for image in (good, bad)]


def _work(first: int, count: int) -> None:
    """Report the outcome of each change, a line each."""
    members, original = unpack(BASE), verdicts_of(read_bundle(BASE))
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            path = mutated(members, random.Random(seed), Path(folder) / "x.occ")
            try:
                found = outcome(path, original)
            except Exception:  # noqa: BLE001 - whatever would be a traceback
                traceback.print_exc()
                found = "traceback"
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(json.dumps({"change": seed, "found": found, "memory": memory}), flush=True)


_PATIENCE = 60
"""Seconds after which a change counts as a hang."""


def main(count: int) -> None:
    """Try many changes, each counted once whatever it does."""
    counts: Counter[str] = Counter()
    largest = seed = 0
    while seed < count:
        command = [sys.executable, __file__, str(seed), str(count - seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            for line in _lines(worker):
                result = json.loads(line)
                seed, largest = result["change"] + 1, max(largest, result["memory"])
                _count(counts, result["change"], result["found"])
            if seed < count:
                _count(counts, seed, "hang" if worker.poll() is None else "crash")
                seed += 1
            worker.kill()
    known = {name: counts.pop(name, 0) for name in ("refused", "harmless", "traceback", "hang")}
    print(
        f"{count} changes: {known['refused']} refused, {known['harmless']} accepted and harmless, {known['traceback']} "
        f"tracebacks, {known['hang']} hangs, others {dict(counts)}; at most {largest} MB"
    )


def _lines(worker: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that a worker prints, until it ends or is silent for too long."""
    assert worker.stdout is not None
    while select.select([worker.stdout], [], [], _PATIENCE)[0]:
        line = worker.stdout.readline()
        if not line:
            worker.wait()
            return
        yield line


def _count(counts: Counter[str], change: int, found: str) -> None:
    counts[found] += 1
    if found not in ("refused", "harmless"):
        print(f"change {change}: {found}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _work(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 720)
