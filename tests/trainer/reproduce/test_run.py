"""Selection, order and states of cells in a run."""

import signal
from dataclasses import replace

import pytest

from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.reproduce.set_changes import SetChange
from trainer.reproduce.table import Row


def states(outcome):
    return [status.state for status in outcome.statuses]


def test_cells_are_done_once_row_by_row(fake):
    cells = fake.plan()
    outcome = fake.run(cells)
    expected = [(c, seed, steps) for steps in (1, 2, 3) for seed in (0, 1) for c in ("bottle", "screw")]
    assert fake.calls == expected
    assert states(outcome) == ["done"] * 12
    assert outcome.statuses[5].result.values == {"auroc": fake.value("screw", 0, 2)}
    assert states(fake.run(cells)) == ["done"] * 12
    assert fake.calls == expected
    assert "12 of 12 cells are already done" in fake.said


def test_progress_says_which_cell_of_how_many_and_how_long_still(fake):
    fake.run(fake.plan(seeds=1, rows=("short",)))
    lines = [line for line in fake.said if line.startswith("cell ")]
    assert [line.partition(";")[0] for line in lines] == [
        "cell 1 of 4: fixed, bottle, seed 0",
        "cell 2 of 4: fixed, screw, seed 0",
        "cell 3 of 4: short, bottle, seed 0",
        "cell 4 of 4: short, screw, seed 0",
    ]
    assert [line.rpartition(", ")[2] for line in lines] == [
        "time left unknown",
        "at least 1.0 min left",
        "time left unknown",
        "about 2.0 min left",
    ]


def test_a_budget_interrupts_the_cell_under_way_and_begins_no_other(fake):
    cells = fake.plan(seeds=1)
    fake.events["screw", 0, 1] = fake.use_up_the_budget
    outcome = fake.run(cells, seconds=3600)
    assert states(outcome) == ["done", "incomplete", "not run", "not run", "not run", "not run"]
    assert not outcome.interrupted
    assert "the budget is used up" in fake.said
    assert states(fake.run(cells)) == ["done"] * 6


def test_a_budget_that_is_used_up_begins_nothing(fake):
    outcome = fake.run(fake.plan(), seconds=1e-9)
    assert states(outcome) == ["not run"] * 12
    assert fake.calls == []


def test_ctrl_c_keeps_what_is_done(fake):
    cells = fake.plan(seeds=1)
    fake.events["screw", 0, 1] = lambda: signal.raise_signal(signal.SIGINT)
    outcome = fake.run(cells)
    assert outcome.interrupted
    assert states(outcome) == ["done", "incomplete", "not run", "not run", "not run", "not run"]


def test_a_checkpoint_of_an_earlier_run_makes_a_cell_incomplete(fake):
    cells = fake.plan(seeds=1)
    fake.store.bundle(cells[3]).with_suffix(".train").mkdir()
    outcome = fake.run(cells, seconds=1e-9)
    assert states(outcome) == ["not run"] * 3 + ["incomplete"] + ["not run"] * 2


def test_a_cell_that_fails_does_not_stop_the_others(fake, wrong):
    cells = fake.plan(seeds=1)
    fake.events["bottle", 0, 2] = wrong
    outcome = fake.run(cells)
    assert states(outcome) == ["done", "done", "failed", "done", "done", "done"]
    assert [failure.found for failure in outcome.failures] == ["bad ones"]
    assert "short, bottle, seed 0 failed: expected good images, found bad ones" in fake.said
    assert states(fake.run(cells)) == ["done"] * 6


def test_rows_with_the_same_settings_share_their_cells(fake):
    twin = Row("twin", "twin", "quick", ("optimiser.steps=1",))
    object.__setattr__(fake.table, "rows", (*fake.table.rows[:1], twin))
    assert states(fake.run(fake.plan(seeds=1))) == ["done"] * 4
    assert fake.calls == [("bottle", 0, 1), ("screw", 0, 1)]


def test_given_settings_hold_for_every_row_that_does_not_set_them(fake):
    cells = fake.plan(seeds=1, categories=("bottle",), settings=("optimiser.steps=7", "head.dim=9"))
    assert [cell.config.head.dim for cell in cells] == [9, 9, 9]
    assert [cell.config.optimiser.steps for cell in cells] == [1, 2, 3]


def test_a_row_that_does_not_depend_on_the_seed_is_done_once(fake):
    rows = (replace(fake.table.rows[0], seeded=False), *fake.table.rows[1:])
    object.__setattr__(fake.table, "rows", rows)
    assert [(cell.row.name, cell.seed) for cell in fake.plan(categories=("bottle",))] == [
        ("fixed", 0), ("short", 0), ("short", 1), ("long", 0), ("long", 1),
    ]  # fmt: skip


def test_every_chosen_row_is_done_once_for_each_change(fake):
    fake.table = replace(fake.table, discover=lambda data: ())
    changes = (SetChange(), SetChange(defects=0.05), SetChange(images=20))
    cells = fake.plan(seeds=1, categories=("bottle",), rows=("long",), changes=changes)
    assert [cell.row.name for cell in cells] == [
        "fixed", "long", "fixed-5-percent-defects", "long-5-percent-defects", "fixed-20-images", "long-20-images",
    ]  # fmt: skip
    assert len({cell.key for cell in cells}) == len({cell.bundle_key for cell in cells}) == 6
    assert [cell.key for cell in cells[:2]] == [
        cell.key for cell in fake.plan(seeds=1, categories=("bottle",), rows=("long",))
    ]


def test_sets_of_a_papers_table_cannot_be_changed(fake):
    with pytest.raises(InputError, match="--contaminate"):
        fake.plan(changes=(SetChange(images=20),))


def test_fixed_rows_cannot_be_left_out(fake):
    rows = dict.fromkeys(cell.row.name for cell in fake.plan(rows=("long",)))
    assert list(rows) == ["fixed", "long"]


def test_epochs_are_of_the_categorys_images_and_of_each_branchs_batch(fake):
    for number in range(1, 10):  # the tenth of bottle's; screw has one
        (fake.data / f"bottle/train/good/{number}.png").touch()
    row = Row("two", "two", "quick", ("optimiser.batch=4", "further_branches=[{optimiser: {batch: 2}}]"))
    fake.table = replace(fake.table, rows=(row,))
    steps = {
        cell.category: [branch.optimiser.steps for branch in cell.config.branches]
        for cell in fake.plan(epochs=8, seeds=1)
    }
    assert steps == {"bottle": [20, 40], "screw": [2, 4]}
    assert [cell.config.optimiser.steps for cell in fake.plan(epochs=0.01, seeds=1)] == [1, 1]


def test_steps_take_the_place_of_every_branchs_own(fake):
    assert {cell.config.optimiser.steps for cell in fake.plan(steps=9)} == {9}
    row = Row("two", "two", "quick", ("further_branches=[{optimiser: {steps: 5}}]",))
    object.__setattr__(fake.table, "rows", (row,))
    config = fake.plan(steps=9)[0].config
    assert isinstance(config, TrainConfig)
    assert [branch.optimiser.steps for branch in config.branches] == [9, 9]


@pytest.mark.parametrize(
    ("options", "expected", "found"),
    [
        ({"rows": ("sort",)}, "fixed, short, long", "'sort'"),
        ({"categories": ("bottel",)}, "bottle, screw, pill", "'bottel'"),
        ({"categories": ("bottle", "pill")}, "bottle, pill", "bottle, screw"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(fake, options, expected, found):
    with pytest.raises(InputError) as caught:
        fake.plan(**options)
    assert expected in caught.value.expected
    assert found in caught.value.found


def test_data_without_any_category_is_refused_with_those_expected(fake, tmp_path):
    for folder, found in (("empty", "no folder in it"), ("none", "no such folder")):
        fake.data = tmp_path / folder
        if folder == "empty":
            fake.data.mkdir()
        with pytest.raises(InputError) as caught:
            fake.plan()
        assert "bottle, screw, pill" in caught.value.expected
        assert caught.value.found == found


@pytest.mark.parametrize("missing", ["train/good", "test/good"])
def test_a_category_without_good_images_is_refused(fake, missing):
    folder = fake.data / "screw" / missing
    (folder / "0.png").unlink()
    folder.rmdir()
    with pytest.raises(InputError) as caught:
        fake.plan()
    assert str(folder) in caught.value.expected
    assert fake.plan(categories=("bottle",))
