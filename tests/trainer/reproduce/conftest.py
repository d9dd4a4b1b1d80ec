"""A table whose cells need no training."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edge_occ.common.errors import InputError
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Store
from trainer.reproduce.mvtec import find, fingerprint, images
from trainer.reproduce.run import TableRequest, plan, reproduce
from trainer.reproduce.table import Measured, PaperTable, Procedure, Row

FAKE_CATEGORIES = ("bottle", "screw", "pill")


class FakeTable:
    """A fixed row and two others; records the measured cells and runs the events set for them."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        for name in FAKE_CATEGORIES[:2]:
            for part in ("train/good/0.png", "test/good/0.png"):
                path = self.data / name / part
                path.parent.mkdir(parents=True)
                path.write_bytes(f"{name} {part}".encode())
        self.said: list[str] = []
        self.calls: list[tuple[str, int, int]] = []
        self.events = {}
        self.store = Store(folder / "work", self.said.append)
        rows = (
            Row("fixed", "*fixed*", "quick", ("optimiser.steps=1",), fixed=True),
            Row("short", "short", "quick", ("optimiser.steps=2",), paper="image-cutpaste-3way", block="a"),
            Row("long", "long", "quick", ("optimiser.steps=3",), block="b"),
        )
        procedure = Procedure("fake", 1, find, fingerprint, images, self.measure)
        self.table = PaperTable("fake", "A fake", procedure, FAKE_CATEGORIES, rows, "auroc", {"auroc": "AUROC"})

    @staticmethod
    def value(category, seed, steps):
        return (80 + 10 * FAKE_CATEGORIES.index(category) + steps + seed**2) / 100

    def measure(self, task):
        call = (task.category, task.seed, task.config.optimiser.steps)
        self.calls.append(call)
        self.events.pop(call, lambda: None)()
        return Measured({"auroc": self.value(*call)}, updates=call[2], seconds=60 * call[2])

    def plan(self, **options):
        return plan(TableRequest(self.table, self.data, **{"seeds": 2, **options}))

    def run(self, cells, seconds=None):
        self.budget = Budget(seconds)
        return reproduce(cells, self.store, self.budget, "cpu", self.said.append)

    def use_up_the_budget(self):
        """Expire the budget at a moment that the test chooses."""
        object.__setattr__(self.budget, "seconds", 1e-9)
        signal.raise_signal(signal.SIGALRM)


@pytest.fixture
def fake(tmp_path):
    return FakeTable(tmp_path)


@pytest.fixture
def wrong():
    """Raise the error of a training on bad images."""

    def raise_it():
        raise InputError("good images", "bad ones", "look at them")

    return raise_it
