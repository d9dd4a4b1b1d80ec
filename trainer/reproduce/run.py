"""The run of a table: planning its cells, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from edge_occ.common.errors import InputError, UserError
from edge_occ.common.settings import load_settings, preset
from trainer.config import BranchConfig, TrainConfig
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Cell, CellResult, Store
from trainer.reproduce.progress import Progress
from trainer.reproduce.provenance import provenance
from trainer.reproduce.set_changes import SetChange
from trainer.reproduce.table import CellTask, PaperTable, Row, check_known

AnyBranch = TypeVar("AnyBranch", bound=BranchConfig)

CellState = Literal["done", "incomplete", "failed", "not run"]

_COMMON = ("export.fp16=false", "export.int8=false", "export.features=false")
"""All figures are of the fp32 graph; the other precisions would cost minutes for each cell, features a disk."""


@dataclass(frozen=True)
class TableRequest:
    """The user's selection of a table.

    Attributes:
        data: folder of the categories' folders.
        rows, categories: names; empty for all.
        seeds: number of seeds, from 0 on.
        steps: training steps in place of the presets' numbers.
        epochs: training steps as passes through all images of a category.
        settings: overrides of every row, ``section.field=value``; a row's own settings take precedence.
        changes: of the images to train with; every row is done once for each.
    """

    table: PaperTable
    data: Path
    rows: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    seeds: int = 3
    steps: int | None = None
    epochs: float | None = None
    settings: tuple[str, ...] = ()
    changes: tuple[SetChange, ...] = ()


@dataclass(frozen=True)
class CellStatus:
    """The state of a cell at the end of a run."""

    cell: Cell
    state: CellState
    result: CellResult | None


@dataclass(frozen=True)
class TableOutcome:
    """The result of a run.

    Attributes:
        statuses: states of all requested cells.
        interrupted: whether the user interrupted the run.
        failures: errors of the failed cells.
    """

    statuses: tuple[CellStatus, ...]
    interrupted: bool
    failures: tuple[UserError, ...]


def plan(request: TableRequest) -> list[Cell]:
    """List all requested cells in the order of their run.

    The order is row by row, so that a budget leaves out the last rows and not a part of each; within a row it is seed
    by seed.

    Raises:
        InputError: a row, category, preset or setting is unknown, the data has none of the table's categories, or
            the table's sets cannot be changed.
    """
    if request.changes and request.table.discover is None:
        raise InputError(
            "a table whose sets can be changed, such as decisions",
            request.table.name,
            "leave --contaminate and --images out",
        )
    rows = request.table.choose_rows(request.rows)
    rows = tuple(row.changed(change) for change in request.changes or (SetChange(),) for row in rows)
    settings = {row.name: _settings(row, request) for row in rows}
    procedure, folders = request.table.procedure, find_categories(request)
    fingerprints = {category: procedure.fingerprint(folder, category) for category, folder in folders.items()}
    configs = {}
    for category, folder in folders.items():
        images = procedure.images(folder, category) if request.epochs else 0
        for name, config in settings.items():
            configs[name, category] = _shortened(config, request, images)
    return [
        Cell(procedure, row, category, seed, folder, fingerprints[category], configs[row.name, category])
        for row in rows
        for seed in range(request.seeds if row.seeded else 1)
        for category, folder in folders.items()
    ]


def find_categories(request: TableRequest) -> dict[str, Path]:
    """Return the folders of the requested categories, in the table's order.

    Raises:
        InputError: a requested category is unknown or not in the data, or the data has no category.
    """
    table = request.table
    for name in request.categories:
        check_known("category", name, table.categories, "--categories")
    wanted = [name for name in table.categories if not request.categories or name in request.categories]
    found = {name: table.procedure.find(request.data, name) for name in wanted}
    missing = [name for name, folder in found.items() if folder is None]
    if len(missing) == len(wanted) or (request.categories and missing):
        there = [name for name in table.categories if table.procedure.find(request.data, name) is not None]
        holds = sorted(p.name for p in request.data.iterdir() if p.is_dir()) if request.data.is_dir() else None
        raise InputError(
            f"{'all' if request.categories else 'any'} of the categories {', '.join(wanted)} in {request.data}",
            "no such folder" if holds is None else ", ".join(there or holds) or "no folder in it",
            "choose from these with --categories" if there else "name the folder of all categories with --data",
        )
    return {name: folder for name, folder in found.items() if folder is not None}


def reproduce(
    cells: Sequence[Cell], store: Store, budget: Budget, device: str, say: Callable[[str], None]
) -> TableOutcome:
    """Train and measure every cell that is not in the store, until the budget is used up.

    After a failed cell the next one begins.  No results are selected: each cell is trained to its last step and
    evaluated once.

    Args:
        cells: the cells in the order of their run.
        store: the finished cells; new results are added.
        budget: the time limit.
        device: ``auto``, ``cpu`` or ``cuda``.
        say: prints a line for the user.
    """
    failures: dict[str, UserError] = {}
    under_way: Cell | None = None
    interrupted = False
    progress = Progress(cells, store, budget, say)
    try:
        with budget.interrupting():
            for cell in progress.to_do:
                if budget.used_up:
                    say("the budget is used up")
                    break
                if store.result(cell) is not None:  # another row has the same settings
                    continue
                under_way = cell
                progress.announce(cell)
                try:
                    _run_cell(cell, store, device, say)
                except UserError as error:
                    failures[cell.key] = error
                    say(f"{cell} failed: expected {error.expected}, found {error.found}")
                under_way = None
    except KeyboardInterrupt:
        interrupted = not budget.used_up
        say("interrupted" if interrupted else "the budget is used up")
    statuses = tuple(_status(cell, store, cell is under_way, failures) for cell in cells)
    return TableOutcome(statuses, interrupted, tuple(failures.values()))


def _settings(row: Row, request: TableRequest) -> TrainConfig:
    return load_settings(TrainConfig, [preset(row.preset)], [*request.settings, *row.settings, *_COMMON])


def _shortened(config: TrainConfig, request: TableRequest, images: int) -> TrainConfig:
    """Apply the requested steps or epochs, if any, to every branch."""

    def steps(branch: AnyBranch) -> AnyBranch:
        wanted = request.steps
        if request.epochs is not None:
            wanted = max(1, round(request.epochs * images / branch.optimiser.batch))
        optimiser = branch.optimiser if wanted is None else branch.optimiser.model_copy(update={"steps": wanted})
        return branch.model_copy(update={"optimiser": optimiser})

    further = tuple(steps(branch) for branch in config.further_branches)
    return steps(config).model_copy(update={"further_branches": further})


def _run_cell(cell: Cell, store: Store, device: str, say: Callable[[str], None]) -> None:
    task = CellTask(
        category=cell.category,
        data=cell.data,
        config=cell.config,
        preset=cell.row.preset,
        seed=cell.seed,
        device=device,
        encoders=store.encoders,
        bundle=store.bundle(cell),
        picture=store.picture(cell),
        say=say,
        change=cell.row.change,
    )
    made = provenance(device)
    measured = cell.procedure.measure(task)
    values = {name: None if value is None else round(value, 6) for name, value in measured.values.items()}
    seconds = round(measured.seconds, 1)
    store.keep(cell, CellResult(key=cell.key, values=values, updates=measured.updates, seconds=seconds, made=made))


def _status(cell: Cell, store: Store, under_way: bool, failures: dict[str, UserError]) -> CellStatus:
    result = store.result(cell)
    if result is not None:
        return CellStatus(cell, "done", result)
    if cell.key in failures:
        return CellStatus(cell, "failed", None)
    return CellStatus(cell, "incomplete" if under_way or store.begun(cell) else "not run", None)
