"""Bundles: whole or refused."""

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import pack, unpack

from edge_occ.bundle.bundle import ENCODER_GRAPH, MANIFEST, read_bundle, write_bundle
from edge_occ.bundle.manifest import FORMAT
from edge_occ.bundle.provenance import ModelSelection
from edge_occ.bundle.tensors import head_from, head_member
from edge_occ.common.errors import BundleRefused, InputError
from engines.base import HEADS
from engines.errors import UserError


def repack(source, target, change):
    """Copy a bundle member by member; change(members) edits the dictionary of contents."""
    members = unpack(source)
    change(members)
    return pack(members, target, agree=False)


def edit_manifest(**fields):
    def change(members):
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **fields}).encode()

    return change


def test_it_is_a_plain_zip_of_open_formats(tiny_bundle):
    with zipfile.ZipFile(tiny_bundle) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        manifest = json.loads(archive.read("manifest.json"))
    assert names == {
        "manifest.json",
        *("graph.fp32.onnx", "graph.fp16.onnx", "graph.int8.onnx", "encoder.fp32.onnx"),
        *("head.safetensors", "golden.safetensors", "golden.int8.safetensors"),
        "preview.jpg",
        "MODEL_CARD.md",
    }
    assert set(manifest["members"]) == names - {"manifest.json"}
    assert manifest["format"] == FORMAT


def test_what_is_read_is_what_was_written(tiny_bundle, tmp_path):
    bundle = read_bundle(tiny_bundle)
    copy = tmp_path / "copy.occ"
    write_bundle(copy, bundle.manifest.model_dump(exclude={"members"}), bundle.members)
    again = read_bundle(copy)
    assert again.manifest == bundle.manifest
    assert again.members == bundle.members
    assert bundle.precisions == ("fp32", "fp16", "int8")
    assert len(bundle.held_out) == bundle.manifest.calibration.n == 16
    golden = bundle.golden()
    assert len(golden.frames) == len(golden.scores) == len(golden.maps) == 6
    assert golden.frames[0].dtype == np.uint8
    assert stat.S_IMODE(copy.stat().st_mode) & 0o444 == 0o444 & ~_umask()


def test_a_bundle_is_identified_by_its_members(tiny_bundle, tmp_path):
    bundle = read_bundle(tiny_bundle)
    manifest = {
        name: getattr(bundle.manifest, name) for name in type(bundle.manifest).model_fields if name != "members"
    }
    assert write_bundle(tmp_path / "same.occ", manifest, bundle.members).identity == bundle.manifest.identity
    reversed_ = dict(reversed(list(bundle.members.items())))
    assert write_bundle(tmp_path / "same.occ", manifest, reversed_).identity == bundle.manifest.identity
    other = {**bundle.members, "MODEL_CARD.md": b"another card"}
    assert write_bundle(tmp_path / "other.occ", manifest, other).identity != bundle.manifest.identity
    assert len(bundle.manifest.identity) == 16


def test_a_bundle_of_the_first_format_is_still_read(tiny_bundle, tmp_path):
    """It had fp32 alone, and its manifest no word of other precisions."""
    bundle = read_bundle(tiny_bundle)
    old = {name: data for name, data in bundle.members.items() if "fp16" not in name and "int8" not in name}
    fields = {**bundle.manifest.model_dump(exclude={"members", "precisions"}), "format": 1}
    fields["parity_tolerance"] = {"fp32": 1e-3}
    write_bundle(tmp_path / "old.occ", fields, old)
    again = read_bundle(tmp_path / "old.occ")
    assert again.manifest.format == 1
    assert again.precisions == ("fp32",)
    assert again.conformal_threshold().verdict(1.0) == bundle.conformal_threshold().verdict(1.0)


def test_a_bundle_of_the_second_format_is_still_read(tiny_bundle, tmp_path):
    """It had one head, one encoder, and no word of either's place among others."""
    bundle = read_bundle(tiny_bundle)
    fields = {**bundle.manifest.model_dump(exclude={"members", "model_selection"}), "format": 2}
    fields["geometry"] = {name: fields["geometry"][name] for name in ("window", "stride", "grid", "frame")}
    fields["geometry"]["size"] = 96  # the side of a square, up to format 4
    write_bundle(tmp_path / "old.occ", fields, bundle.members)
    again = read_bundle(tmp_path / "old.occ")
    assert again.manifest.format == 2
    assert again.manifest.geometry == bundle.manifest.geometry.model_copy(update={"downscaling": None})
    assert again.manifest.model_selection is None
    assert again.precisions == bundle.precisions
    assert set(again.graph().head) == {"mean", "whitening"}


def test_model_selection_keeps_its_name_in_the_file(tiny_bundle, tmp_path):
    """Format 4 calls it ``choice``; another name would need another format."""
    bundle = read_bundle(tiny_bundle)
    selection = ModelSelection(alignment=0.5, aligned=True, candidates=(), image_auroc=0.9, pixel_auroc=0.8)
    fields = {**bundle.manifest.model_dump(exclude={"members"}), "model_selection": selection}
    write_bundle(tmp_path / "selected.occ", fields, bundle.members)
    with zipfile.ZipFile(tmp_path / "selected.occ") as archive:
        assert json.loads(archive.read(MANIFEST))["choice"]["alignment"] == 0.5
    assert read_bundle(tmp_path / "selected.occ").manifest.model_selection == selection


def test_a_bundle_without_an_exact_encoder_is_read(tiny_bundle, tmp_path):
    bundle = read_bundle(tiny_bundle)
    members = {name: data for name, data in bundle.members.items() if name != ENCODER_GRAPH}
    path = tmp_path / "without.occ"
    write_bundle(path, bundle.manifest.model_dump(exclude={"members"}), members)
    again = read_bundle(path)
    assert ENCODER_GRAPH not in again.members
    assert again.members == members
    assert again.conformal_threshold().verdict(1.0) == bundle.conformal_threshold().verdict(1.0)


def test_a_head_of_several_parts_comes_back_with_every_tensor_and_without_the_scores():
    generator = np.random.default_rng(0)
    shapes = {"mean": (2, 3, 4), "whitening": (2, 3, 4, 4), "mean.1": (1, 1, 5), "whitening.1": (1, 1, 5, 5)}
    shapes |= {"score_weights": (2,), "map_weights": (2,)}
    head = {name: generator.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    head["whitening"] = head["whitening"].swapaxes(2, 3)  # strides that are not those of the memory
    held_out = generator.random(7)
    member = head_member(head, held_out)
    found, scores = head_from(member)
    assert set(found) == set(head)
    assert all(np.array_equal(found[name], head[name]) for name in head)
    assert np.array_equal(scores, held_out)


def test_tensors_that_float16_holds_take_half_the_space_and_come_back_as_they_were():
    generator = np.random.default_rng(0)
    kept = np.float32(1) + generator.random((1, 1, 64, 64), dtype=np.float32) / np.float32(3)
    for whitening, size in [
        (kept, 4),
        (kept.astype(np.float16).astype(np.float32), 2),
        (np.full_like(kept, 65504), 2),
        (np.full_like(kept, 65536), 4),
        (np.full_like(kept, 2.0**-24), 2),
        (np.full_like(kept, 2.0**-25), 4),
    ]:
        member = head_member({"mean": np.full((1, 1, 64), np.pi, np.float32), "whitening": whitening}, np.arange(3.0))
        assert 0 < len(member) - size * whitening.size < 1000
        found, _ = head_from(member)
        assert all(tensor.dtype == np.float32 and not tensor.flags.writeable for tensor in found.values())
        np.testing.assert_array_equal(found["whitening"], whitening)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_of_any_kind_comes_back(kind):
    head = {name: np.full((2, 3), len(name), np.float32) for name in HEADS[kind]}
    member = head_member(head, np.arange(3.0))
    found, _ = head_from(member)
    assert set(found) == set(head)
    assert all(np.array_equal(found[name], head[name]) for name in head)


@pytest.mark.parametrize("names", [(), ("mean",), ("mean", "something-new"), ("mean", "whitening", "gamma.1")])
def test_a_head_of_no_known_kind_is_refused(names):
    head = {name: np.zeros(3, np.float32) for name in names}
    with pytest.raises(BundleRefused, match="gaussian, gaussian-standardised, kde, ocsvm, ocsvm-linear, nearest, knn"):
        head_from(head_member(head, np.arange(3.0)))


def test_a_graph_without_a_tolerance_is_not_written(tiny_bundle, tmp_path):
    bundle = read_bundle(tiny_bundle)
    fields = bundle.manifest.model_dump(exclude={"members"})
    del fields["parity_tolerance"]["int8"]
    with pytest.raises(ValueError, match=r"int8\.onnx has no parity tolerance"):
        write_bundle(tmp_path / "new.occ", fields, bundle.members)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_truncated_bundle_is_refused(tiny_bundle, tmp_path, share):
    path = tmp_path / "short.occ"
    data = tiny_bundle.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleRefused):
        read_bundle(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_an_edited_bundle_is_refused_or_means_the_same(tiny_bundle, tmp_path, place, flip):
    """A changed byte is found, wherever it lies; some bytes of a zip (dates, attributes) mean nothing."""
    data = bytearray(tiny_bundle.read_bytes())
    data[int(place * len(data))] ^= flip
    path = tmp_path / "edited.occ"
    path.write_bytes(data)
    original = read_bundle(tiny_bundle)
    try:
        found = read_bundle(path)
    except BundleRefused:
        return
    assert found.members == original.members


@pytest.mark.parametrize("member", ["graph.fp32.onnx", "head.safetensors", "golden.safetensors", "MODEL_CARD.md"])
def test_an_edited_member_is_named(tiny_bundle, tmp_path, member):
    def change(members):
        members[member] = members[member][:-1] + bytes([members[member][-1] ^ 1])

    with pytest.raises(BundleRefused, match=member):
        read_bundle(repack(tiny_bundle, tmp_path / "x.occ", change))


def test_a_newer_format_is_distinguished(tiny_bundle, tmp_path):
    path = repack(tiny_bundle, tmp_path / "x.occ", edit_manifest(format=FORMAT + 1, something="new"))
    with pytest.raises(BundleRefused, match="newer edge-occ; upgrade"):
        read_bundle(path)


@pytest.mark.parametrize(
    "change",
    [
        edit_manifest(format="one"),
        edit_manifest(surprise=1),
        lambda members: members.pop(MANIFEST),
        lambda members: members.pop("head.safetensors"),
        lambda members: members.update({"../evil.txt": b"x"}),
        lambda members: members.update({"graph.fp64.onnx": b"x"}),
        lambda members: members.update({MANIFEST: b"[]"}),
        lambda members: members.update({MANIFEST: b"\xff"}),
        lambda members: members.update({MANIFEST: b" " * (5 << 20)}),
    ],
)
def test_what_is_no_bundle_is_refused(tiny_bundle, tmp_path, change):
    with pytest.raises(BundleRefused):
        read_bundle(repack(tiny_bundle, tmp_path / "x.occ", change))


def test_a_compressed_member_is_refused_unread(tiny_bundle, tmp_path):
    """A zip bomb would be one."""
    path = tmp_path / "x.occ"
    shutil.copy(tiny_bundle, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("extra", b"0" * 1000)
    with pytest.raises(BundleRefused, match="uncompressed"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("member", "kept"), [("head.safetensors", {"mean"}), ("golden.safetensors", {"scores", "maps"})]
)
def test_a_bundle_whose_hashes_agree_but_whose_tensors_are_missing_is_refused(tiny_bundle, tmp_path, member, kept):
    members = unpack(tiny_bundle)
    tensors = safetensors.numpy.load(members[member])
    members[member] = safetensors.numpy.save({name: value for name, value in tensors.items() if name in kept})
    with pytest.raises(BundleRefused):
        read_bundle(pack(members, tmp_path / "x.occ"))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.occ"
    path.write_bytes(b"not a zip at all" * 100)
    with pytest.raises(BundleRefused):
        read_bundle(path)
    with pytest.raises(InputError, match="edge-occ train"):
        read_bundle(tmp_path / "absent.occ")


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from edge_occ.bundle.bundle import read_bundle, write_bundle
from engines.errors import UserError
bundle = read_bundle(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_bundle(Path(sys.argv[2]), bundle.manifest.model_dump(exclude={"members"}), bundle.members)
except UserError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_leaves_nothing_half_written_and_the_old_bundle_whole(tiny_bundle, tmp_path):
    """The operating system refuses to let the file grow, as it does when the disk is full."""
    target = tmp_path / "x.occ"
    target.write_bytes(b"the old one")
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tiny_bundle), str(target)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "make room" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["x.occ"]
    assert target.read_bytes() == b"the old one"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000


def test_every_refusal_has_three_parts(tmp_path):
    with pytest.raises(UserError) as caught:
        read_bundle(tmp_path / "absent.occ")
    error = caught.value
    assert error.expected
    assert error.found
    assert error.advice
    assert error.exit_code == 2
