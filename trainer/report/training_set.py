"""Sentences about a training set, shared by the terminal, reports and model cards."""

from __future__ import annotations

from collections.abc import Iterator

from edge_occ.bundle.provenance import Training


def training_set(training: Training) -> str:
    """Return how many images were used, of how many parts, and how many were left out."""
    parts = training.images if training.parts is None else training.parts
    return (
        f"trained on {training.images} images of {parts} different good parts; left out: "
        f"{len(training.copies)} copies, {len(training.skipped)} unusable"
    )


def doubts(training: Training) -> Iterator[str]:
    """Yield a sentence for each reason why the guarantee is weaker than the number of images suggests."""
    if training.copies:
        yield (
            f"{_count(len(training.copies), 'image has', 'images have')} the same pixels as another and "
            f"{'was' if len(training.copies) == 1 else 'were'} left out; the first is {training.copies[0]}. "
            "Copies give no information about other parts."
        )
    if training.parts is not None and training.parts < training.images:
        yield (
            f"The {training.images} images show {training.parts} different parts; the other images differ from these "
            "only by camera noise and brightness. All images are used for training, but images of one part are held "
            f"out together and count as one, so the guarantee is based on {training.parts} parts. Add images of other "
            "parts."
        )
    if training.excluded:
        yield (
            f"{_count(len(training.excluded), 'image', 'images')} that a person called defective "
            f"{'was' if len(training.excluded) == 1 else 'were'} taken out of heads and threshold after the training: "
            f"{', '.join(training.excluded)}. The guarantee is about parts like those that are left."
        )
    if training.added:
        yield (
            f"{len(training.added)} of the {training.images} images are frames of events that a person marked as good, "
            "added to heads and threshold after the training. They are no random good parts: they are those that "
            "raised an alarm. Where they still score high, they raise the threshold: false alarms become rarer than "
            "the guarantee says, and fewer defects may be found. Where they score low, false alarms may become up to "
            "about a tenth more frequent than it says."
        )
    if training.look_alike:
        yield (
            "The images differ only by camera noise and brightness. If they show a single part, the guarantee holds "
            "for that part only: add images of other parts."
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
