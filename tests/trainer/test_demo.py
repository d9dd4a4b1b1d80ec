"""The demo: its images, and its whole second half with a bundle at hand."""

import json

import pytest

from edge_occ.bundle.bundle import read_bundle, write_bundle
from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from trainer import demo
from trainer.data.solar_cells import prepare_solar_cells
from trainer.demo import run_demo
from trainer.report.demo import DemoResult


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return prepare_solar_cells(tmp_path_factory.mktemp("demo") / "cells")


def test_cells_are_split_in_random_order_with_names_that_do_not_give_the_class(cells):
    train = {path.name for path in cells.train.iterdir()}
    stream = {path.name for path in cells.stream.iterdir()}
    assert stream == set(cells.defective)
    assert (len(train), len(stream), sum(cells.defective.values())) == (411, 490, 313)
    seen = {read_image(path).tobytes() for path in cells.train.iterdir()}
    assert not seen & {read_image(path).tobytes() for path in cells.stream.iterdir()}
    order = [cells.defective[name] for name in sorted(stream)]
    assert 0.5 < sum(order[:100]) / 100 < 0.8  # shuffled: a hundred are like the whole (64 % defective)


def test_a_second_preparation_reuses_the_files(cells):
    before = {path: path.stat().st_mtime_ns for path in cells.stream.iterdir()}
    again = prepare_solar_cells(cells.stream.parent)
    assert again == cells
    assert before == {path: path.stat().st_mtime_ns for path in cells.stream.iterdir()}


@pytest.mark.parametrize("part", ["train", "stream"])
def test_a_folder_that_the_demo_did_not_write_is_not_changed(tmp_path, part):
    picture = tmp_path / "cells" / part / "0001.png"
    picture.parent.mkdir(parents=True)
    picture.write_text("mine")
    with pytest.raises(InputError, match="--folder"):
        prepare_solar_cells(tmp_path / "cells")
    assert picture.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_a_page_that_the_demo_did_not_write_is_not_replaced(tmp_path):
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("mine")
    with pytest.raises(InputError, match="--folder"):
        run_demo(tmp_path, fps=100)
    assert page.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_the_stream_is_inspected_and_every_figure_comes_from_messages(cells, tiny_bundle, capfd, monkeypatch):
    """The first time, as on a busy machine, no score arrives; the second time is at half the speed."""
    inspect, speeds = demo._inspect, []

    def busy_at_first(bundle, cells, fps, messages):
        speeds.append(fps)
        result = inspect(bundle, cells, fps, messages) if len(speeds) > 1 else None
        return result or DemoResult({}, {}, {}, [], 0.0)

    monkeypatch.setattr(demo, "_inspect", busy_at_first)
    folder = cells.stream.parent.parent
    # Its training images have colours and are darker: guards would stop the cells.
    tiny = read_bundle(tiny_bundle)
    training = tiny.manifest.training.model_copy(update={"colour": None, "exposure": None})
    manifest = tiny.manifest.model_copy(update={"training": training}).model_dump(exclude={"members", "format"})
    write_bundle(folder / "solar-cells.occ", manifest, {name: tiny.members[name] for name in tiny.manifest.members})
    (folder / "messages" / "heatmaps" / "line").mkdir(parents=True)
    for name in ("scores.jsonl", "heatmaps/line/000000.jpg", "heatmaps/line/part.jpg", "notes.txt"):
        (folder / "messages" / name).write_text("of an earlier demo, or mine")
    run_demo(folder, fps=100)
    assert speeds == [100, 50]
    said = capfd.readouterr()
    assert "0 of 490 scores arrived: a busy machine; once more, at half the speed" in said.out
    assert "reusing" in said.out
    for name in (
        "declared rate",
        "Defects found",
        "False alarms",
        "Expected false alarms",
        "Image AUROC",
        "Frames per second",
        "Capture to publish",
    ):
        assert name in said.out
    assert "CC BY-NC-SA 4.0" in said.out
    messages = [json.loads(line) for line in (folder / "messages" / "scores.jsonl").read_text().splitlines()]
    assert {message["payload"]["name"] for message in messages} == set(cells.defective)
    assert (folder / "report" / "index.html").stat().st_size > 50_000
    heatmaps = folder / "messages" / "heatmaps" / "line"
    pictures = [path.name for path in heatmaps.iterdir() if path.read_bytes().startswith(b"\xff\xd8")]
    assert pictures
    assert all(len(name) == len("000000.jpg") for name in pictures)
    assert (folder / "messages" / "notes.txt").exists()
    assert (heatmaps / "part.jpg").exists()
