"""Settings that fit each other, contradict each other, or have earlier names."""

import pytest
from pydantic import ValidationError

from edge_occ.common.settings import load_settings
from trainer.config import BranchConfig, PretextConfig, TrainConfig
from trainer.pretext.contrastive_da import symmetries

CONTRASTIVE = {"mode": "image", "embedding": 128}
ON = {"enabled": True}


@pytest.mark.parametrize(
    ("pretext", "views"),
    [
        ({"name": "rotation", "mode": "image"}, ON),
        ({"name": "rotation", "mode": "image"}, {}),
        ({"name": "contrastive", **CONTRASTIVE}, ON),
        ({"name": "contrastive-da", **CONTRASTIVE, "copies": "vflip"}, ON),
    ],
)
def test_the_two_stage_papers_tasks_are_settings(pretext, views):
    for encoder in ("resnet18", "lite0", "dense"):
        BranchConfig.model_validate({"encoder": {"name": encoder}, "pretext": pretext, "views": views})


@pytest.mark.parametrize(
    ("pretext", "views", "words"),
    [
        ({"name": "contrastive", **CONTRASTIVE}, {}, "compares views: it needs views.enabled=true"),
        ({"name": "contrastive-da", **CONTRASTIVE}, {}, "needs views.enabled=true"),
        ({"name": "contrastive", "mode": "image"}, ON, "needs a pretext.embedding above 0"),
        ({"name": "contrastive", "embedding": 128}, ON, "needs pretext.mode=image"),
        ({"name": "rotation"}, ON, "needs pretext.mode=image"),
        (
            {"name": "cutpaste", "mode": "image"},
            ON,
            "rotation, contrastive, contrastive-da, not with cutpaste",
        ),
        ({"name": "none"}, ON, "not with none"),
        ({"name": "contrastive-da", **CONTRASTIVE, "copies": 9}, ON, "less than or equal to 8"),
        ({"name": "contrastive-da", **CONTRASTIVE, "copies": 0}, ON, "greater than or equal to 1"),
        ({"name": "contrastive-da", **CONTRASTIVE, "copies": "turn"}, ON, "'rot', 'hflip' or 'vflip'"),
        ({"name": "contrastive", **CONTRASTIVE, "temperature": 0}, ON, "greater than 0"),
        ({"name": "rotation", "mode": "image"}, {**ON, "hue": 0.6}, "less than or equal to 0.5"),
        ({"name": "simclr"}, {}, "'contrastive-da'"),
    ],
)
def test_settings_of_a_branch_that_contradict_each_other_are_refused(pretext, views, words):
    with pytest.raises(ValidationError, match=words):
        BranchConfig.model_validate({"encoder": {"name": "resnet18"}, "pretext": pretext, "views": views})


@pytest.mark.parametrize(("typed", "copies"), [("rot", (0, 2, 4, 6)), ("3", (0, 1, 2)), ("8", tuple(range(8)))])
def test_copies_may_be_typed(typed, copies):
    given = ["pretext.name=contrastive-da", "pretext.mode=image", "pretext.embedding=8", "views.enabled=true"]
    config = load_settings(TrainConfig, [], [*given, f"pretext.copies={typed}"])
    assert symmetries(config.pretext.copies) == copies


def test_a_branch_keeps_its_views():
    settings = {
        "pretext": {"name": "rotation", "mode": "image"},
        "views": {"enabled": True, "crop": 0.7},
        "further_branches": [{"pretext": {"name": "cutpaste"}}],
    }
    first, second = TrainConfig.model_validate(settings).branches
    assert (first.views.enabled, first.views.crop) == (True, 0.7)
    assert not second.views.enabled


def test_the_defaults_are_the_released_codes():
    pretext = PretextConfig(name="contrastive-da", **CONTRASTIVE)
    assert (pretext.temperature, pretext.symmetric, pretext.copies) == (0.2, False, "rot")


def test_a_region_is_of_positions():
    for mode in ("auto", "drawn.png"):
        with pytest.raises(ValidationError, match=f"region.mode={mode} works with patch encoders"):
            TrainConfig.model_validate(
                {"encoder": {"name": "resnet18"}, "pretext": {"name": "none"}, "region": {"mode": mode}}
            )


def test_images_may_be_as_small_as_cifars():
    assert TrainConfig.model_validate({"input": {"size": 32}}).input.size == 32
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        TrainConfig.model_validate({"input": {"size": 31}})


@pytest.mark.parametrize(
    ("earlier", "current"),
    [
        ("beside=[{head: {beside: knn}}]", "further_branches=[{head: {further_kinds: knn}}]"),
        ("choice.beside=unaligned", "selection.train_further=unaligned"),
        ("head.beside=knn", "head.further_kinds=knn"),
        ("pretext={least_pixels: 9, most_covered: 0.5}", "pretext={min_pixels: 9, max_covered: 0.5}"),
    ],
)
def test_earlier_names_mean_the_same(earlier, current):
    assert load_settings(TrainConfig, [], [earlier]) == load_settings(TrainConfig, [], [current]) != TrainConfig()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"selection": {"enabled": True}, "ensemble": 2}, "without an ensemble"),
        (
            {"selection": {"enabled": True}, "encoder": {"name": "resnet18"}, "pretext": {"name": "none"}},
            "patch encoders",
        ),
        ({"fusion": {"score_weights": [1, 2]}}, "a weight for each of 1 heads, not 2"),
        ({"head": {"scope": ["shared", "per-position"]}, "fusion": {"map_weights": [1]}}, "each of 2 heads, not 1"),
        ({"fusion": {"map_weights": [-1]}}, "at least 0"),
        ({"fusion": {"score_weights": [0]}}, "not all 0"),
        ({"head": {"scope": ["shared", "shared"]}}, "each kind of head once"),
        ({"pretext": {"name": "cutout"}}, "needs pretext.mode=image"),
        ({"encoder": {"name": "lite0"}}, "only the dense encoder"),
        (
            {"further_branches": [{"encoder": {"name": "lite0"}, "pretext": {"mode": "dense"}}]},
            "only the dense encoder",
        ),
    ],
)
def test_settings_of_a_training_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate(settings)
