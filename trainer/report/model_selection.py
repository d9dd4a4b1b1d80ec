"""Result of model selection and its candidates: a section of the report of a training."""

from __future__ import annotations

from edge_occ.bundle.provenance import CandidateHead, ModelSelection
from trainer.report.heads import candidate_in_words
from trainer.report.page import PageSection, PageTable

_LISTED = 12
"""Number of the best candidates that are listed; those that were taken are listed too."""


def selection_section(choice: ModelSelection, rate: str) -> PageSection:
    """Return the section about what was selected and from what.

    Args:
        choice: the record.
        rate: false-alarm rate in words: the declared one, or the lowest that the good parts certify.
    """
    scoring = [c for c in choice.candidates if c.score_weight]
    makes_map = [c for c in choice.candidates if c.map_weight]
    image_score = "; ".join(
        f"{candidate_in_words(c)}, smoothed by {c.sigma:g} pixels, {_image_score(c)} (weight {c.score_weight:.2f})"
        for c in scoring
    )
    text = (
        f"The selected model finds {of_synthetic(choice)} at {rate} false alarms. No real defect was "
        "used: the candidates were compared on held-out good parts and on the same parts with synthetic defects of "
        "several kinds, which no training uses; many of them are faint on purpose. A defect counts as found where it "
        "scores above the threshold that follows from the good parts.\n\n"
        f"Image score: {image_score}. Heatmap: {'; '.join(map(candidate_in_words, makes_map))}. Position explains "
        f"{choice.alignment:.0%} of the variance of the features. Image AUROC {choice.image_auroc:.3f}, pixel AUROC "
        f"{choice.pixel_auroc:.3f} on these defects.\n\n"
        f"The best of {len(choice.candidates)} candidates and those that were taken, sorted by the mean share found at "
        "the declared rate and at 2, 5 and 10 times that. Of image scores within one standard error of the best, "
        f"the one that averages the largest share of the map is taken. Found: at {rate}; AUROC: of images and of "
        "pixels."
    )
    ranked = sorted(choice.candidates, key=lambda c: c.objective or 0, reverse=True)
    listed = [c for k, c in enumerate(ranked) if k < _LISTED or c.score_weight or c.map_weight]
    rows = [
        (
            candidate_in_words(c),
            f"{c.sigma:g} pixels",
            "maximum" if c.top_fraction is None else f"highest {100 * c.top_fraction:g} %",
            _percent(c.power),
            _percent(c.objective),
            f"{c.image_auroc:.4f}",
            "" if c.pixel_auroc is None else f"{c.pixel_auroc:.4f}",
            f"{c.score_weight:.2f}" if c.score_weight else "",
            "yes" if c.map_weight else "",
        )
        for c in listed
    ]
    header = (
        "head",
        "smoothing",
        "image score",
        "found",
        "mean",
        "AUROC",
        "pixels",
        "weight",
        "heatmap",
    )
    return PageSection("Model selection", text, table=PageTable(header, rows))


def _image_score(candidate: CandidateHead) -> str:
    """Describe the image score of a candidate."""
    share = candidate.top_fraction
    return "maximum of the map" if share is None else f"mean of the highest {100 * share:g} % of the map"


def of_synthetic(selection: ModelSelection) -> str:
    """Return the power of the selected model, as "83.4% of 390 synthetic defects"."""
    return f"{_percent(selection.power)} of {selection.defects} synthetic defects"


def _percent(share: float | None) -> str:
    """Return a share as text; nothing for one that was not measured."""
    return "" if share is None else f"{share:.1%}"
