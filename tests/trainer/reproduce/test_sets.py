from __future__ import annotations

import cv2
import numpy as np
import pytest
from discs import write
from some_cells import table_of_cells

from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from trainer.data.layout import find_labelled_images
from trainer.reproduce import mvtec
from trainer.reproduce.sets import SOLAR_CELLS, LabelledSet, find_sets, opened


@pytest.fixture
def no_package(monkeypatch):
    """No solar cells are installed."""
    monkeypatch.setattr("trainer.reproduce.sets.find_spec", lambda name: None)


@pytest.fixture
def tiles(tmp_path):
    """11 free tiles, and 3 cracked ones, one of which has a black mask."""
    folder = tmp_path / "data" / "tiles"
    picture = np.full((20, 30, 3), 90, np.uint8)
    for i in range(1, 12):
        write(folder / "MT_Free" / "Imgs" / f"exp1_num_{i}.jpg", picture)
        write(folder / "MT_Free" / "Imgs" / f"exp1_num_{i}.png", 0 * picture)
    for i in range(3):
        mask = 0 * picture
        mask[:5, : 4 * i] = 255
        write(folder / "MT_Crack" / "Imgs" / f"exp2_num_{i}.jpg", picture)
        write(folder / "MT_Crack" / "Imgs" / f"exp2_num_{i}.png", mask)
    return folder


def test_sets_are_found_up_to_two_levels_below(tmp_path, tiles, no_package):
    for name in ("data/mvtec/screw", "data/mvtec/pill", "data/a/b/deep"):
        for part in ("train/good", "test/good"):
            (tmp_path / name / part).mkdir(parents=True)
    (tmp_path / "data" / "unlabelled" / "train" / "good").mkdir(parents=True)
    data = tmp_path / "data"
    assert find_sets(data) == {"tiles": tiles, "pill": data / "mvtec" / "pill", "screw": data / "mvtec" / "screw"}
    assert find_sets(data / "mvtec" / "pill") == {"pill": data / "mvtec" / "pill"}
    (data / "tiles2").symlink_to(tiles)
    (data / "other" / "tiles" / "MT_Free" / "Imgs").mkdir(parents=True)
    with pytest.raises(InputError, match="rename one"):
        find_sets(data)


@pytest.mark.parametrize(("folder", "found"), [("empty", "none"), ("missing", "no such folder")])
def test_a_folder_without_a_set_is_refused(tmp_path, folder, found):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        find_sets(tmp_path / folder)
    assert error.value.found == found


def test_every_fifth_free_tile_is_held_back_and_black_masks_are_left_out(tiles):
    with opened("tiles", tiles) as labelled:
        free = [f"exp1_num_{i}.jpg" for i in range(1, 12)]
        assert [image.path.name for image in labelled.test if not image.defective] == [free[4], free[9]]
        assert list(labelled.train) == [*free[:4], *free[5:9], free[10]]
        defects = [image for image in labelled.test if image.defective]
        assert [(image.kind, image.path.name) for image in defects] == [
            ("crack", "exp2_num_1.jpg"), ("crack", "exp2_num_2.jpg"),
        ]  # fmt: skip
        assert [mask.name for image in defects for mask in image.masks] == ["exp2_num_1.png", "exp2_num_2.png"]


def test_a_linked_set_is_the_set(tiny_data, tmp_path):
    with opened("discs", tiny_data) as labelled:
        labelled.link(tmp_path)
    assert [p.read_bytes() for p in find_images(tmp_path / "train" / "good")] == [
        p.read_bytes() for p in find_images(tiny_data / "train" / "good")
    ]
    linked, original = find_labelled_images(tmp_path), find_labelled_images(tiny_data)
    assert [(i.kind, i.path.name) for i in linked] == [(i.kind, i.path.name) for i in original]
    for image, source in zip(linked, original, strict=True):
        assert [mask.read_bytes() for mask in image.masks] == [mask.read_bytes() for mask in source.masks]
    assert sum(bool(image.masks) for image in linked) == 7


def test_the_fingerprint_is_of_roles_and_contents(tiny_data):
    with opened("discs", tiny_data) as labelled:
        prints = [labelled.fingerprint()]
        prints.append(LabelledSet(labelled.train, labelled.test).fingerprint())
        prints.append(LabelledSet(labelled.train, labelled.test[1:]).fingerprint())
        prints.append(LabelledSet(dict(list(labelled.train.items())[1:]), labelled.test).fingerprint())
        swapped = dict(zip(labelled.train, reversed(list(labelled.train.values())), strict=True))
        prints.append(LabelledSet(swapped, labelled.test).fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_solar_cells_are_those_of_the_demo(tiny_data, tmp_path, monkeypatch):
    elpv = pytest.importorskip("elpv_dataset.utils", reason="pip install 'edge-occ[demo]'")
    from trainer.data import solar_cells

    some = elpv.load_dataset(table_of_cells(tmp_path / "some", lambda number, _: number % 10 == 0))
    monkeypatch.setattr(solar_cells, "load_dataset", lambda: some)
    demo = solar_cells.prepare_solar_cells(tmp_path / "demo")
    sets = find_sets(tiny_data)
    assert list(sets) == ["discs", SOLAR_CELLS]
    with opened(SOLAR_CELLS, sets[SOLAR_CELLS]) as labelled:
        assert [path.read_bytes() for path in labelled.train.values()] == [
            path.read_bytes() for path in find_images(demo.train)
        ]
        kinds = {image.path.name: image.kind for image in labelled.test}
        assert kinds == {name: "defective" if bad else "good" for name, bad in demo.defective.items()}
        assert set(kinds.values()) == {"good", "defective"}
        first = next(iter(labelled.train.values()))
        assert cv2.imread(str(first)).shape == (300, 300, 3)
    assert not first.exists()


@pytest.mark.data
def test_the_sets_beside_the_checkout(shared_data, no_package):
    sets = find_sets(shared_data)
    assert {"magnetic_tiles", "bottle", "pill", "screw", "toothbrush"} <= set(sets)
    assert mvtec.images(sets["bottle"], "bottle") == 209
    with opened("magnetic_tiles", sets["magnetic_tiles"]) as labelled:
        defects = sum(image.defective for image in labelled.test)
        assert (len(labelled.train), len(labelled.test) - defects, defects) == (255, 63, 388)
