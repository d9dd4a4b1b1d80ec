"""``edge-occ reproduce``: a table of figures, made again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import Device, Json
from edge_occ.common.console import print_json, print_line, say
from edge_occ.common.errors import InputError
from edge_occ.common.printable import printable
from edge_occ.common.signals import ending_at_once


def reproduce(  # noqa: PLR0913 - one parameter an option
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Name of a table, as listed above.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder of the categories (bottle, cable, ...), each in the MVTec layout, or of the data set "
            "(cifar-10-batches-bin, fashion_mnist, ...); the categories that are there are done.",
        ),
    ],
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Only these rows (repeat it, or separate by commas); the two without training always stay.",
        ),
    ] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Only these categories (repeat it, or separate by commas)."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Trainings a row and category; the paper has 5.")
    ] = 3,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time for the whole command: 90s, 20m, 1h30m. The next run does the rest."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training steps of every row, in place of its own.")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=1e-3, help="Training length of every row in passes over a category's training images."
        ),
    ] = None,
    contaminate: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Tables of decisions: every row once for each of these shares of defective training images, such as "
            "0,0.02,0.05.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTS",
            help="Tables of decisions: every row once for each of these numbers of good training images, such as "
            "10,20,50.",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting of every row: section.field=value. Repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the table, its plot and its pictures.")] = Path(
        "docs/results"
    ),
    pictures: Annotated[
        bool, typer.Option(help="Write pictures with heatmaps there, too; they show images of the data set.")
    ] = True,
    work: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of bundles, checkpoints and finished cells; keep it to resume."),
    ] = Path(".cache/reproduce"),
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Make a paper's table again: its figures next to ours, with the seeds and updates of each.

    A cell of the table is one row, category and seed: trained to its last step and evaluated once. Finished cells are
    kept under the hash of their settings, seed and data, so the same command goes on after Ctrl-C, a power cut or a
    budget, and other tables share them. Cells are done row by row, cheap rows first. A cell without a figure is
    printed as not run, incomplete or failed.

    * **decisions**: defects found at false-alarm rates of 1, 2, 5 and 10 %, on every labelled set below the folder
    * **thresholds**: the threshold rules of other programs on the same scores
    * **mvtec**: image AUROC by category, for every preset
    * **mvtec-pixels**: pixel AUROC and AUPRO of the same bundles
    * **cutpaste-ablation**: the paper's variants of CutPaste, and the options of dense training
    * **synthetic**: image AUROC of generated defects on good test images
    * **cifar10**, **cifar100**, **fmnist**, **catdog**, **celeba**: one class against the rest, every representation of
      the two-stage paper with every head, on features before and after the projection head

    For instance: `edge-occ reproduce mvtec --data mvtec_ad --rows quick,auto --seeds 3 --budget 2h`; or, on two CPU
    cores, `edge-occ reproduce fmnist --data sets --steps 200 --set encoder.base_width=8`
    """
    require_extra("torch", "train")
    with ending_at_once():
        from trainer.own_files import check_writable  # noqa: PLC0415
        from trainer.pretrain.processes import choose_device, launched  # noqa: PLC0415
        from trainer.reproduce import find_table  # noqa: PLC0415
        from trainer.reproduce.budget import Budget, parse_budget  # noqa: PLC0415
        from trainer.reproduce.cells import Store  # noqa: PLC0415
        from trainer.reproduce.markdown import RunInfo  # noqa: PLC0415
        from trainer.reproduce.provenance import provenance  # noqa: PLC0415
        from trainer.reproduce.run import TableRequest, plan  # noqa: PLC0415
        from trainer.reproduce.run import reproduce as run_table  # noqa: PLC0415
        from trainer.reproduce.set_changes import parse_changes  # noqa: PLC0415
        from trainer.reproduce.summary import summarise  # noqa: PLC0415
        from trainer.reproduce.write import as_json, require_own_table, write_table  # noqa: PLC0415

    if steps and epochs:
        raise InputError("either --steps or --epochs", "both", "leave one of them out")
    if launched():
        raise InputError(
            "one process, because a table is many trainings",
            "several, started by torchrun",
            "start one command for each category or row; see docs/scaling.md",
        )
    request = TableRequest(
        table=find_table(table).on(data),
        data=data,
        rows=_split(rows),
        categories=_split(categories),
        seeds=seeds,
        steps=steps,
        epochs=epochs,
        settings=tuple(override or ()),
        changes=parse_changes(contaminate, images),
    )
    limit = Budget(None if budget is None else parse_budget(budget))
    choose_device(device)
    cells = plan(request)
    options: dict[str, object] = {
        "rows": ",".join(request.rows),
        "categories": ",".join(request.categories),
        "seeds": seeds,
        "budget": budget,
        "steps": steps,
        "epochs": epochs,
        "contaminate": contaminate,
        "images": images,
        "no-pictures": not pictures,
        "device": device if device != "auto" else None,
    }
    require_own_table(out, request.table)
    check_writable(out, "--out")
    store = Store(work, say)
    outcome = run_table(cells, store, limit, device, say)
    lengths = {"optimiser.steps": steps, "epochs": epochs}
    overrides = (*request.settings, *(f"{name}={value:g}" for name, value in lengths.items() if value is not None))
    command, name = _command(table, data, options, request.settings), data.resolve().name
    about = RunInfo(printable(command), printable(name), provenance(device), tuple(map(printable, overrides)))
    summary = summarise(request.table, outcome.statuses)
    path = write_table(out, summary, outcome.statuses, store, about, show=pictures)
    if json:
        print_json(as_json(summary, outcome.statuses, about))
    else:
        for line in path.read_text(encoding="utf-8").splitlines():
            print_line(line)
    done = sum(status.state == "done" for status in outcome.statuses)
    say(f"{done} of {len(outcome.statuses)} cells done; table: {path}")
    if done < len(outcome.statuses):
        say("the same command goes on from here")
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failures:
        raise outcome.failures[0]


def _split(names: list[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for name in names or [] for part in name.split(",") if part.strip())


def _command(table: str, data: Path, options: dict[str, object], settings: Sequence[str]) -> str:
    """Return the command that makes the same table, without paths of this machine."""
    words = ["edge-occ", "reproduce", table, "--data", data.resolve().name]
    for option, value in options.items():
        if value:
            words += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    for setting in settings:
        words += ["--set", setting]
    return shlex.join(words)
