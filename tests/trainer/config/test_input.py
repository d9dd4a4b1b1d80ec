"""The size that frames are resized to."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from trainer.config import InputConfig, TrainConfig
from trainer.config.encoder import MIN_SIDE, MULTIPLE

BUDGETS = st.integers(32, 1024)
SIDES = st.integers(1, 10_000)


@given(budget=BUDGETS, side=SIDES)
def test_square_frames_become_the_square(budget, side):
    assert InputConfig(size=budget).resized((side, side)) == (budget, budget)


@given(budget=BUDGETS, frame=st.tuples(SIDES, SIDES))
@example(budget=256, frame=(1080, 1920))
def test_other_frames_become_the_best_of_all_sizes_within_the_budget(budget, frame):
    size = InputConfig(size=budget).resized(frame)
    if budget < MIN_SIDE or frame[0] == frame[1]:
        assert size == (budget, budget)
        return
    assert size[0] * size[1] <= budget * budget
    assert all(MIN_SIDE <= side <= 4096 and side % MULTIPLE == 0 for side in size)

    def finest(other):
        return min(other[0] / frame[0], other[1] / frame[1])

    sides = range(MIN_SIDE, min(4096, budget * budget // MIN_SIDE) + 1, MULTIPLE)
    others = [other for other in itertools.product(sides, sides) if other[0] * other[1] <= budget * budget]
    best = max(map(finest, others))
    assert finest(size) == pytest.approx(best)
    assert size[0] * size[1] == min(h * w for h, w in others if finest((h, w)) == pytest.approx(best, rel=1e-12))


@given(budget=BUDGETS, frame=st.tuples(SIDES, SIDES))
def test_a_turned_frame_becomes_a_turned_size(budget, frame):
    assert InputConfig(size=budget).resized(frame[::-1]) == InputConfig(size=budget).resized(frame)[::-1]


@given(budget=st.integers(128, 1024), frame=st.tuples(st.integers(100, 400), st.integers(100, 400)))
def test_shapes_are_kept_within_the_grain_of_the_multiples(budget, frame):
    height, width = InputConfig(size=budget).resized(frame)
    stretched = (width * frame[0]) / (height * frame[1])
    if frame[0] != frame[1]:
        grain = min(height, width) / (min(height, width) - MULTIPLE)
        assert 1 / grain <= stretched <= grain


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((480, 640), (224, 288)),
        ((1080, 1920), (192, 320)),
        ((1000, 1500), (192, 288)),
        ((1000, 1010), (256, 256)),
        ((4000, 100), (1024, 64)),
    ],
)
def test_common_shapes_at_the_default(frame, size):
    assert InputConfig().resized(frame) == size


def test_an_explicit_size_holds_for_every_frame():
    config = load_settings(TrainConfig, [], ["input.size=[96, 160]"])
    assert config.resized((100, 100)) == config.resized((1080, 1920)) == (96, 160)


@pytest.mark.parametrize("size", [31, 2049, [31, 64], [64], [64, 64, 3], "wide", 100.5, None])
def test_other_values_are_refused(size):
    with pytest.raises(ValidationError, match="size"):
        InputConfig(size=size)


@pytest.mark.parametrize("name", ["rotation", "contrastive"])
def test_tasks_that_turn_images_have_squares(name):
    pretext = {"name": name, "mode": "image", "embedding": 8}
    task = {"pretext": pretext, "views": {"enabled": True}}
    assert TrainConfig.model_validate(task).resized((1080, 1920)) == (256, 256)
    assert TrainConfig.model_validate({**task, "input": {"size": [96, 96]}}).resized((1080, 1920)) == (96, 96)
    settings = [*(f"pretext.{key}={value}" for key, value in pretext.items()), "views.enabled=true"]
    with pytest.raises(InputError) as error:
        load_settings(TrainConfig, [], [*settings, "input.size=[96, 160]"])
    assert "input.size" in str(error.value)
