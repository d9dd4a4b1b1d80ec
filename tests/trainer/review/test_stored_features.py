"""The features beside a bundle: what was written is read, and nothing else is."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import torch

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images, read_frames
from trainer.job import Job
from trainer.review.oddness import by_oddness
from trainer.review.stored_features import GoodImages, compact, features_path, read_features, write_features
from trainer.train import train


def read(bundle):
    return read_features(bundle, read_bundle(bundle).manifest)


def refused(bundle, *words):
    with pytest.raises(InputError) as error:
        read(bundle)
    for word in words:
        assert word in str(error.value)


def rewrite(bundle, **changes):
    """Replace tensors of a file, or leave them out."""
    path = features_path(bundle)
    tensors = {**safetensors.numpy.load_file(path), **changes}
    metadata = header(path)["__metadata__"]
    safetensors.numpy.save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata)


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_stored_features_are_those_of_the_exported_graph(spoilt_bundle, spoilt_data):
    bundle, stored = read_bundle(spoilt_bundle), read(spoilt_bundle)
    images = stored.images
    assert images.names == tuple(f"train/good/{i:03}.png" for i in range(24))
    assert images.parts == tuple(range(24))
    assert images.folder == str(spoilt_data)
    assert images.data_sha256 == bundle.manifest.training.data_sha256
    assert images.digests == find_normal_images(spoilt_data).digests
    assert len(set(images.digests)) == 24
    engine = OnnxRuntimeEngine(bundle.graph())
    (frames,) = map(torch.cat, [list(read_frames(tuple(find_images(spoilt_data / "train" / "good")), "test"))])
    expected = np.stack([engine.features(frame.numpy())[0] for frame in frames])
    (features,) = stored.features
    assert features.dtype == np.float16
    np.testing.assert_allclose(features.astype(np.float32), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(stored.scores, bundle.held_out)
    assert stored.maps.shape == (24, 64, 64)
    # The image score is the map's highest value, which the smaller map keeps.
    np.testing.assert_allclose(stored.maps.max((1, 2)), stored.scores, rtol=1e-5)


def test_the_spoilt_images_have_the_highest_scores(spoilt_bundle):
    stored = read(spoilt_bundle)
    oddest = by_oddness(stored.scores)[:2]
    assert {stored.images.names[of.image] for of in oddest} == {"train/good/005.png", "train/good/011.png"}
    assert all(of.odd for of in oddest)


def test_features_beyond_the_range_of_float16_stay_float32():
    small, large = np.array([[60000.0]], np.float32), np.array([[70000.0, 1.0]], np.float32)
    assert compact(small).dtype == np.float16
    assert compact(large) is large
    assert compact(-large).dtype == np.float32


def test_a_bundle_without_features_is_refused(own_bundle):
    features_path(own_bundle).unlink()
    refused(own_bundle, "discs.features.safetensors", "no such file", "train again")


def test_features_of_another_bundle_are_refused(own_bundle, tiny_bundle):
    shutil.copy(features_path(tiny_bundle), features_path(own_bundle))
    own, other = (read_bundle(path).manifest.identity for path in (own_bundle, tiny_bundle))
    refused(own_bundle, own, other, "copy the bundle and its features together")


@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.zeros((24, 5, 5, 7), np.float16)},
        {"features": np.zeros((23, 5, 5, 8), np.float16)},
        {"features": np.full((24, 5, 5, 8), np.nan, np.float16)},
        {"features": np.zeros((24, 5, 5, 8), np.float64)},
        {"features": None},
        {"features.1": np.zeros((24, 5, 5, 8), np.float16)},
        {"scores": np.zeros(23)},
        {"scores": np.full(24, np.inf)},
        {"scores": None},
        {"maps": np.zeros((24, 65, 64), np.float32)},
        {"maps": np.zeros((24, 64), np.float32)},
        {"maps": np.zeros((24, 0, 64), np.float32)},
    ],
)
def test_tensors_that_do_not_belong_to_the_bundle_are_refused(own_bundle, changes):
    rewrite(own_bundle, **changes)
    refused(own_bundle, "stored features of edge-occ in")


@pytest.mark.parametrize("kept", [0, 5, 8, 100, -1])
def test_a_file_that_was_cut_short_is_refused(own_bundle, kept):
    path = features_path(own_bundle)
    path.write_bytes(path.read_bytes()[:kept])
    refused(own_bundle, "stored features of edge-occ in")


@pytest.mark.parametrize(
    "content",
    [
        b"no tensors at all, but longer than eight bytes",
        (1 << 40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_a_foreign_file_is_refused_and_not_replaced(own_bundle, spoilt_data, content):
    path = features_path(own_bundle)
    path.write_bytes(content)
    refused(own_bundle, "stored features of edge-occ in")
    job = Job(spoilt_data, own_bundle, TrainConfig(), "quick", 0, "cpu", "edge-occ train")
    with pytest.raises(InputError, match="did not write"):
        train(job)
    assert path.read_bytes() == content


def test_a_name_twice_or_a_part_too_many_is_refused():
    fields = {"folder": "/data", "data_sha256": "0", "parts": (0, 1), "digests": ("0" * 64, "1" * 64)}
    GoodImages(names=("a.png", "b.png"), **fields)
    for changes in ({"names": ("a.png", "a.png")}, {"parts": (0, 2)}, {"parts": (0,)}, {"digests": ("x", "y")}):
        with pytest.raises(ValueError):  # noqa: PT011 - pydantic's
            GoodImages(**{"names": ("a.png", "b.png"), **fields, **changes})


def test_a_failed_write_keeps_the_older_file(own_bundle, monkeypatch):
    stored, manifest, path = read(own_bundle), read_bundle(own_bundle).manifest, features_path(own_bundle)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_features(path, stored, manifest)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["discs.features.safetensors", "discs.occ"]
