"""Keys of cells, and their results on disk."""

import os
import shutil
from dataclasses import replace

import pytest

from edge_occ.common.errors import InputError
from trainer.reproduce.cells import Store
from trainer.reproduce.run import TableRequest, plan


def changed(cell, section, **settings):
    part = getattr(cell.config, section).model_copy(update=settings)
    return replace(cell, config=cell.config.model_copy(update={section: part}))


def test_a_key_depends_on_what_changes_figures(fake):
    cell, *others = fake.plan()
    keys = {each.key for each in [cell, *others]}
    assert len(keys) == 12
    different = [
        changed(cell, "head", dim=90),
        replace(cell, seed=7),
        replace(cell, procedure=replace(cell.procedure, version=2)),
        replace(cell, procedure=replace(cell.procedure, name="other")),
    ]
    assert len(keys | {each.key for each in different}) == 16
    assert {each.bundle_key for each in different[2:]} == {cell.bundle_key}


def test_a_key_does_not_depend_on_names_of_rows_nor_on_how_often_checkpoints_are_written(fake):
    cell = fake.plan()[0]
    renamed = replace(cell, row=replace(cell.row, name="renamed", label="x", paper=None))
    assert renamed.key == cell.key
    assert changed(cell, "optimiser", checkpoint_seconds=1.0).key == cell.key


def test_training_settings_do_not_change_the_key_of_an_untrained_encoder(fake):
    cell = fake.plan()[0]
    untrained = changed(cell, "pretext", name="none")
    assert untrained.key != cell.key
    assert changed(untrained, "optimiser", steps=99).key == untrained.key
    assert changed(untrained, "encoder", width=8).key != untrained.key


def test_a_key_depends_on_the_contents_of_the_data_and_not_on_its_dates(fake, tmp_path):
    cell = fake.plan()[0]
    copy = tmp_path / "elsewhere"
    shutil.copytree(fake.data, copy)
    for path in copy.rglob("*.png"):
        os.utime(path, (1, 1))
    request = TableRequest(fake.table, copy)
    assert plan(request)[0].key == cell.key
    (copy / "bottle" / "test" / "good" / "0.png").write_bytes(b"other")
    assert plan(request)[0].key != cell.key
    assert plan(request)[1].key == fake.plan()[1].key


@pytest.mark.parametrize("content", [b"", b"{", b'{"key": "x"}', b"\xff", b"another"])
def test_a_damaged_result_is_reported_and_repeated(fake, content):
    cells = fake.plan(seeds=1, categories=("bottle",))
    assert {status.state for status in fake.run(cells).statuses} == {"done"}
    path = fake.store.picture(cells[0]).with_suffix(".json")
    other = fake.store.picture(cells[1]).with_suffix(".json")
    path.write_bytes(other.read_bytes() if content == b"another" else content)
    fake.calls.clear()
    fake.said.clear()
    assert {status.state for status in fake.run(cells).statuses} == {"done"}
    assert fake.calls == [("bottle", 0, 1)]
    assert "the result of fixed, bottle, seed 0 is damaged: the cell is repeated" in fake.said


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--work"):
        Store(tmp_path / "file", print)
