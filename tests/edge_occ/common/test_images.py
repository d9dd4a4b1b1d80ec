from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.decoding import decode_image
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(paths):
    return [path.name for path in paths]


def test_pictures_of_a_folder_in_natural_order(tmp_path):
    touch(tmp_path, "img10.png", "img2.PNG", "img1.jpeg", "notes.txt", "._img1.png", "deep/img3.png")
    assert names(find_images(tmp_path)) == ["img1.jpeg", "img2.PNG", "img10.png"]
    assert names(find_images(f"{tmp_path}/")) == ["img1.jpeg", "img2.PNG", "img10.png"]


@pytest.mark.parametrize("suffix", [".jfif", ".JFIF", ".jif", ".jfi", ".jpe", ".mpo", ".j2k", ".pam"])
def test_less_usual_names_of_pictures_are_known(tmp_path, suffix):
    touch(tmp_path, f"a{suffix}")
    assert names(find_images(tmp_path)) == [f"a{suffix}"]


def test_what_is_left_out_is_counted_and_reported(tmp_path, caplog):
    touch(tmp_path, "1.png", "a.dng", "b.DNG", "notes", ".hidden", ".trash/9.png", "empty/readme.txt")
    touch(tmp_path, "day2/2.png", "day2/3.jfif", "day2/night/4.png", "day3/5.png", "day3/.cache/6.png")
    with caplog.at_level(logging.WARNING):
        assert names(find_images(tmp_path)) == ["1.png"]
    assert caplog.messages == [
        f"left out: 3 files of {tmp_path} without the name of a picture (.dng, notes)",
        f"left out: 4 pictures in 3 sub-folders of {tmp_path}; to take them too, name '{tmp_path}/**' or move them up",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(find_images(f"{tmp_path}/**")) == 5
    assert not any("sub-folder" in message for message in caplog.messages)


def test_nothing_is_reported_where_all_is_taken(tmp_path, caplog):
    touch(tmp_path, "1.png", "2.jpg", ".DS_Store")
    with caplog.at_level(logging.DEBUG):
        find_images(tmp_path)
        find_images(tmp_path / "1.png")
        find_images(f"{tmp_path}/*.png")
    assert caplog.messages == []


def test_patterns(tmp_path):
    touch(tmp_path, "a1.png", "a2.jpg", "b1.png", "deep/er/a3.png")
    assert names(find_images(f"{tmp_path}/a*")) == ["a1.png", "a2.jpg"]
    assert names(find_images(f"{tmp_path}/a?.png")) == ["a1.png"]
    assert names(find_images(f"{tmp_path}/**/a*.png")) == ["a1.png", "a3.png"]
    assert names(find_images(tmp_path / "b1.png")) == ["b1.png"]


def test_a_folder_or_file_with_pattern_signs_in_its_name_is_meant_literally(tmp_path):
    touch(tmp_path, "set[1]/x.png", "set1/y.png", "z[1].png", "z1.png")
    assert names(find_images(tmp_path / "set[1]")) == ["x.png"]
    assert names(find_images(tmp_path / "z[1].png")) == ["z[1].png"]


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=30))
def test_numbers_are_ordered_as_numbers(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("many")
    touch(folder, *[f"part{n}_a.png" for n in numbers])
    assert names(find_images(folder)) == [f"part{n}_a.png" for n in sorted(numbers)]


def test_order_does_not_depend_on_the_file_system(tmp_path):
    same_number = ["a1.png", "a01.png", "A1.png", "1.png", "b.png"]
    random.Random(0).shuffle(same_number)
    touch(tmp_path, *same_number)
    assert names(find_images(tmp_path)) == ["1.png", "A1.png", "a01.png", "a1.png", "b.png"]


def test_empty_and_missing_folders_are_refused(tmp_path):
    touch(tmp_path, *[f"{n}.txt" for n in range(12)])
    with pytest.raises(InputError, match="0 pictures among 12 files;"):
        find_images(tmp_path)
    touch(tmp_path, "train/a.png", "test/b.png")
    with pytest.raises(InputError, match="0 pictures among 12 files and 2 folders; name one of these"):
        find_images(tmp_path)
    with pytest.raises(InputError, match=r"nothing named .*missing"):
        find_images(tmp_path / "missing")
    with pytest.raises(InputError, match=r"nothing named .*\*\.png"):
        find_images(f"{tmp_path}/*.png")


@pytest.mark.data
def test_real_pictures(shared_data):
    paths = find_images(shared_data / "mvtec_ad" / "screw" / "train" / "good")
    assert len(paths) == 320
    picture = decode_image(paths[0])
    assert picture.pixels.shape == (256, 256, 3)
    assert picture.conversions <= {"grey"}
