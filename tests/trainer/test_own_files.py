"""Recognition of files that this program wrote."""

import re
import shutil

import pytest

from edge_occ.common.errors import InputError
from trainer.job import CHECKPOINTS
from trainer.own_files import check_writable, foreign, remove_own, require_outside, require_own_bundle, require_own_page
from trainer.report.page import Page, write_report

OWN = re.compile(r"\d\.jpg")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "1.jpg").touch()
    return place


def test_a_folder_of_ours_alone_is_removed(folder):
    assert foreign(folder, OWN) is None
    remove_own(folder, OWN)
    assert not folder.exists()
    assert foreign(folder, OWN) is None
    remove_own(folder, OWN)


@pytest.mark.parametrize("name", ["10.jpg", "x1.jpg", "1.jpg.txt", ".1.jpg"])
def test_files_of_others_are_found_and_stay(folder, name):
    (folder / name).write_text("mine")
    assert foreign(folder, OWN) == folder / name
    remove_own(folder, OWN)
    assert [path.name for path in folder.iterdir()] == [name]


def test_folders_of_any_name_are_foreign(folder):
    (folder / "2.jpg").mkdir()
    assert foreign(folder, OWN) == folder / "2.jpg"
    remove_own(folder, OWN)
    assert [path.name for path in folder.iterdir()] == ["2.jpg"]


def test_links_and_files_in_the_folder_s_place_are_of_others(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    file = tmp_path / "file"
    file.write_text("mine")
    for place in (link, file):
        assert foreign(place, OWN) == place
        remove_own(place, OWN)
        assert place.exists()
    assert (folder / "1.jpg").exists()


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("checkpoint.safetensors", True),
        ("checkpoint-12.safetensors", True),
        (".checkpoint.safetensors.a1_b.part", True),
        ("checkpoint.safetensors.bak", False),
        ("mycheckpoint.safetensors", False),
        ("checkpoint-x.safetensors", False),
        ("000.jpg", False),
    ],
)
def test_which_checkpoints_are_ours(name, ours):
    assert bool(CHECKPOINTS.fullmatch(name)) == ours


def test_only_pages_of_ours_are_replaced(tmp_path):
    page = tmp_path / "x.html"
    require_own_page(page, "--out")
    write_report(page, Page("title", "lead " * 500, [], []))
    require_own_page(page, "--out")
    page.write_text("<html>my own notes</html>")
    with pytest.raises(InputError, match=r"did not write.*--out"):
        require_own_page(page, "--out")
    page.unlink()
    page.mkdir()
    with pytest.raises(InputError):
        require_own_page(page, "--out")


def test_only_bundles_are_replaced(tmp_path, tiny_bundle):
    bundle = tmp_path / "x.occ"
    require_own_bundle(bundle)
    shutil.copy(tiny_bundle, bundle)
    require_own_bundle(bundle)
    bundle.write_bytes(tiny_bundle.read_bytes()[:-2000])  # a damaged one may be made again
    require_own_bundle(bundle)
    for content in (b"", b"notes", b"PK\x03\x04" + b"x" * 100):
        bundle.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.occ"):
            require_own_bundle(bundle)


def test_trying_to_write_harms_no_file(tmp_path):
    (tmp_path / ".probe").write_text("mine")
    check_writable(tmp_path, "--out")
    check_writable(tmp_path / "new" / "folder", "--out")
    assert (tmp_path / ".probe").read_text() == "mine"
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    with pytest.raises(InputError, match="--out"):
        check_writable(tmp_path / ".probe" / "x", "--out")


def test_a_place_inside_the_data_is_refused(tmp_path):
    data = tmp_path / "parts"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    for place in (
        data,
        data / "x.occ",
        data / "sub" / "x.occ",
        tmp_path / "link" / "x.occ",
        data / ".." / "parts" / "x",
    ):
        with pytest.raises(InputError, match="--out"):
            require_outside(place, data, "--out")
    for place in (tmp_path / "x.occ", tmp_path / "parts.occ", data / ".." / "x.occ"):
        require_outside(place, data, "--out")
