from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.errors import InputError
from trainer.data.layout import LabelledImage
from trainer.reproduce.set_changes import SetChange, parse_changes
from trainer.reproduce.sets import LabelledSet


def labelled(train: int = 90, good: int = 5, defects: int = 40) -> LabelledSet:
    kinds = ["good"] * good + ["crack", "hole"] * (defects // 2)
    images = (LabelledImage(Path(f"test/{kind}/{i // 2:03}.png"), kind) for i, kind in enumerate(kinds))
    return LabelledSet({f"{i:03}.png": Path(f"train/good/{i:03}.png") for i in range(train)}, tuple(images))


@given(st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.25]), st.integers(0, 5))
def test_defects_move_from_the_test_to_the_training(share, seed):
    before = labelled()
    after = SetChange(defects=share).apply(before, seed)
    mixed = set(before.test) - set(after.test)
    assert all(image.defective for image in mixed)
    assert [image for image in before.test if image not in mixed] == list(after.test)
    assert set(after.train.values()) - set(before.train.values()) == {image.path for image in mixed}
    assert len(after.train) == 90 + len(mixed)
    assert len(mixed) / len(after.train) == pytest.approx(share, abs=0.006)


def test_draws_depend_on_the_seed_and_smaller_ones_are_part_of_larger_ones():
    def drawn(change: SetChange, seed: int) -> set[Path]:
        return set(change.apply(labelled(), seed).train.values())

    for smaller, larger in ((SetChange(0.05), SetChange(0.1)), (SetChange(images=10), SetChange(images=50))):
        assert drawn(smaller, 1) == drawn(smaller, 1) < drawn(larger, 1)
        assert drawn(smaller, 1) != drawn(smaller, 2)
    assert len(drawn(SetChange(images=10), 0)) == 10
    both = SetChange(0.1, 45).apply(labelled(), 0)
    assert len(both.train) == 50
    assert SetChange().apply(labelled(), 3) == labelled()


@pytest.mark.parametrize("change", [SetChange(0.4), SetChange(images=91)])
def test_too_few_images_are_refused(change):
    with pytest.raises(InputError, match="--categories") as error:
        change.apply(labelled(), 0)
    assert change.label in error.value.expected


def test_changes_of_the_command_line():
    assert parse_changes("0, 0.02,.1", "10,20") == (
        SetChange(), SetChange(0.02), SetChange(0.1), SetChange(images=10), SetChange(images=20),
    )  # fmt: skip
    assert parse_changes(None, None) == ()
    names = [change.name for change in parse_changes("0,0.025", "10")]
    assert names == ["", "2.5-percent-defects", "10-images"]


@pytest.mark.parametrize(
    ("contaminate", "images"),
    [("much", None), ("0.5", None), ("-0.1", None), ("nan", None), (None, "0"), (None, "1.5")],
)
def test_wrong_values_are_refused(contaminate, images):
    with pytest.raises(InputError):
        parse_changes(contaminate, images)
