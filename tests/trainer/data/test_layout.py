"""Folders of pictures and masks."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from trainer.data.layout import find_labelled_images, image_names, normal_folder

SPOT = np.zeros((20, 30), np.uint8)
SPOT[5:9, 3:8] = 255


def write(path, pixels=SPOT):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def data(tmp_path):
    """Two good images and two of a defect, without masks."""
    for kind in ("good", "broken"):
        for i in range(2):
            write(tmp_path / "test" / kind / f"{i:03}.png")
    return tmp_path


def masks(data):
    """Of the defects, relative to the folder of masks."""
    return [
        tuple(str(mask.relative_to(data)) for mask in image.masks)
        for image in find_labelled_images(data)
        if image.defective
    ]


def test_both_layouts_are_understood(tmp_path):
    (tmp_path / "mvtec" / "train" / "good").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    assert normal_folder(tmp_path / "mvtec") == tmp_path / "mvtec" / "train" / "good"
    assert normal_folder(tmp_path / "plain") == tmp_path / "plain"


def test_labelled_images_have_kinds_and_masks(tiny_data):
    images = find_labelled_images(tiny_data)
    kinds = {image.kind for image in images}
    assert kinds == {"good", "scratch", "spot"}
    for image in images:
        assert image.defective == (image.kind != "good") == bool(image.masks)


@pytest.mark.parametrize(
    "name",
    ["{}_mask.png", "{}_mask.bmp", "{}_mask.PNG", "{}_MASK.png", "{}.png", "{}.tiff"],
)
@pytest.mark.parametrize("folder", ["ground_truth/broken", "ground_truth/Broken", "Ground_Truth/BROKEN"])
def test_masks_may_have_any_type_and_any_case_of_letters(data, folder, name):
    for stem in ("000", "001"):
        write(data / "mask.png").rename(data / f"{stem}.part")
        place = data / folder / name.format(stem)
        place.parent.mkdir(parents=True, exist_ok=True)
        (data / f"{stem}.part").rename(place)
    assert masks(data) == [(f"{folder}/{name.format(stem)}",) for stem in ("000", "001")]


def test_the_name_of_mvtec_ad_goes_first(data):
    for name in ("000.png", "000_mask.bmp", "000_mask.png", "001.png", "001_mask.tiff"):
        write(data / "ground_truth" / "broken" / name)
    assert masks(data) == [("ground_truth/broken/000_mask.png",), ("ground_truth/broken/001_mask.tiff",)]


def test_all_masks_of_an_image_in_the_layout_of_mvtec_loco(data):
    for name in ("000/000.png", "000/001.png", "001/000.png"):
        write(data / "ground_truth" / "broken" / name)
    folder = "ground_truth/broken"
    assert masks(data) == [(f"{folder}/000/000.png", f"{folder}/000/001.png"), (f"{folder}/001/000.png",)]


def test_masks_of_no_image_are_refused(data):
    write(data / "ground_truth" / "broken" / "truth_000.png")
    with pytest.raises(InputError, match=r"1 pictures in .*truth_000\.png.* none .* 2 defects") as error:
        find_labelled_images(data)
    assert str(data / "ground_truth" / "broken" / "000_mask.png") in error.value.expected
    shutil.rmtree(data / "ground_truth")
    assert masks(data) == [(), ()]


@pytest.mark.parametrize(
    "kind", ["ok", "OK", "Good", "GOOD", "normal", "i.O.", "no_defect", "defect-free", "good_parts"]
)
@pytest.mark.parametrize("with_good", [True, False])
def test_good_parts_under_another_name_are_no_kind_of_defect(data, kind, with_good):
    good = data / "test" / "good"
    if with_good:
        shutil.copytree(good, data / "test" / kind)
    else:
        good.rename(data / "test" / kind)
    with pytest.raises(InputError) as error:
        find_labelled_images(data)
    assert error.value.found.startswith(f"{data / 'test' / kind}, ")
    assert f"move its pictures to {good}" in error.value.advice


@pytest.mark.parametrize("kind", ["broken", "not_ok", "okular", "abnormal", "goodyear_missing", "ko"])
def test_other_names_are_kinds_of_defects(data, kind):
    (data / "test" / "broken").rename(data / "test" / kind)
    assert {image.kind for image in find_labelled_images(data)} == {"good", kind}


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information"],
)
def test_folders_that_the_system_made_are_left_out(data, name):
    write(data / "ground_truth" / "broken" / "000_mask.png")
    expected = find_labelled_images(data)
    shutil.copytree(data / "test" / "good", data / "test" / name)
    (data / "test" / f"{name} empty").mkdir()
    (data / "test" / f"{name} empty").rename(data / "ground_truth" / name)
    shutil.copytree(data / "test" / "good", data / "ground_truth" / "broken" / name)
    (data / "test" / "Thumbs.db").write_bytes(b"x")
    (data / "test" / "good" / "Thumbs.db").write_bytes(b"x")
    assert find_labelled_images(data) == expected
    shutil.copytree(data / "test" / "good", data / "train" / "bad")
    (data / "train" / name).mkdir()
    with pytest.raises(InputError, match="bad in"):
        normal_folder(data)


@pytest.mark.parametrize("folders", [["test"], ["ground_truth"], ["test", "ground_truth"]])
def test_a_category_copied_in_part_is_not_trained_on(tmp_path, folders):
    for folder in folders:
        write(tmp_path / folder / "spot" / "000.png", SPOT)
    write(tmp_path / "overview.png", SPOT)
    with pytest.raises(InputError, match=f"{' and '.join(folders)} without train") as error:
        normal_folder(tmp_path)
    assert error.value.expected == f"{tmp_path}/train/good"


def test_names_are_relative_to_the_data_folder(tmp_path, monkeypatch):
    for name in ("train/good/1.png", "train/good/10.png", "m[1]/2.png"):
        write(tmp_path / name)
    assert image_names(tmp_path, find_images(normal_folder(tmp_path))) == ("train/good/1.png", "train/good/10.png")
    flat = tmp_path / "train" / "good"
    assert image_names(flat, find_images(flat)) == ("1.png", "10.png")
    pattern = tmp_path / "train" / "*" / "*.png"
    assert image_names(pattern, find_images(pattern)) == ("good/1.png", "good/10.png")
    literal = tmp_path / "m[1]"
    assert image_names(literal, find_images(literal)) == ("2.png",)
    monkeypatch.chdir(flat)
    assert image_names(Path("*.png"), find_images("*.png")) == ("1.png", "10.png")
    assert image_names(Path(), find_images(Path())) == ("1.png", "10.png")


def test_names_that_are_no_utf8_stay_different(tmp_path):
    paths = [tmp_path / "m\udce4rz.png", tmp_path / "m\udcf6rz.png"]
    assert image_names(tmp_path, paths) == (r"m\xe4rz.png", r"m\xf6rz.png")
