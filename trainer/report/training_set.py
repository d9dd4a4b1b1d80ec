"""What a training learned from, in words: the same on the terminal, in reports and model cards."""

from __future__ import annotations

from collections.abc import Iterator

from edge_occ.bundle.manifest import Training


def training_set(training: Training) -> str:
    """How many pictures were learned from, of how many parts, and how many were left out."""
    parts = training.images if training.parts is None else training.parts
    return (
        f"{training.images} images of {parts} different good parts learned from; left out: "
        f"{len(training.copies)} copies, {len(training.skipped)} unusable"
    )


def doubts(training: Training) -> Iterator[str]:
    """What makes the promise rest on less than the number of pictures suggests, a sentence each."""
    if training.copies:
        yield (
            f"{_count(len(training.copies), 'image has', 'images have')} the pixels of another and "
            f"{'was' if len(training.copies) == 1 else 'were'} left out, the first being {training.copies[0]}. "
            "Copies say nothing of other parts."
        )
    if training.parts is not None and training.parts < training.images:
        yield (
            f"The {training.images} images show {training.parts} different parts: the others differ from one of them "
            "by no more than a camera's noise and its light. All are learned from, but shots of one part are held out "
            f"together and count as one, so that the promise rests on {training.parts} parts. Add other parts."
        )
    if training.look_alike:
        yield (
            "No two images differ by more than a camera's noise and its light. If they are shots of one part, the "
            "promise holds for that part alone: add other parts."
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
