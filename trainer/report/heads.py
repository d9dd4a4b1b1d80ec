"""Descriptions of heads, shared by the terminal, reports and model cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_occ.bundle.provenance import CandidateHead


def heads_in_words(branch: Mapping[str, Any]) -> list[str]:
    """Describe the first kind's heads of a branch, one for each scope, as "per-position, standardised, in the region".

    Args:
        branch: an item of ``head.branches`` in the manifest.
    """
    each: Sequence[tuple[str, bool, bool]] = list(
        zip(branch["scope"], branch["standardise"], branch["in_region"], strict=False)
    )
    return [_words(*own) for own in each]


def candidate_in_words(candidate: CandidateHead) -> str:
    """Describe a candidate of model selection: its encoder and head."""
    return f"{candidate.encoder}, {_words(candidate.scope, candidate.standardised, candidate.in_region)}"


def _words(scope: str, standardised: bool, in_region: bool) -> str:
    return ", ".join((scope, *("standardised",) * standardised, *("in the region",) * in_region))
