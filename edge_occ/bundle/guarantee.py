"""A threshold's guarantee in plain words, the same in reports, in model cards and on the terminal."""

from __future__ import annotations

import math

from edge_occ.bundle.manifest import Calibration


def guarantee(calibration: Calibration) -> str:
    """Return the expected false alarms and their bound in one or two sentences."""
    alarms, parts = _ratio(calibration.expected)
    bound, of = _ratio(calibration.upper_95, bound=True)
    text = (
        f"xpect about {alarms} false alarm{'s' * (alarms > 1)} in {parts} good parts "
        f"(at most {bound} in {of} with 95 % confidence), from {calibration.n} held-out images."
    )
    if calibration.certified:
        return f"E{text}"
    rate = calibration.false_alarm_rate
    return (
        f"{calibration.n} images cannot certify the declared rate of {share_in_words(rate)}: that takes at least "
        f"{images_needed(rate)}. The lowest rate that they certify is "
        f"{share_in_words(lowest_certified_rate(calibration.n))}. The highest held-out score is the threshold; e{text}"
    )


def images_needed(false_alarm_rate: float) -> int:
    """Return the smallest number of held-out images that certifies a rate: ``n >= 1 / rate - 1``."""
    return math.ceil(round(1 / false_alarm_rate - 1, 9))


def lowest_certified_rate(images: int) -> float:
    """Return the lowest false-alarm rate that ``images`` held-out images certify: ``1 / (n + 1)``."""
    return 1 / (images + 1)


def share_in_words(share: float, bound: bool = False) -> str:
    """Return a share as ``1 in 100``, or ``30 in 100`` where one in a whole number would be too coarse.

    A bound is rounded up.
    """
    count, of = _ratio(share, bound)
    return f"{count} in {of}"


def _ratio(share: float, bound: bool = False) -> tuple[int, int]:
    """Return a share as two whole numbers."""
    if share < 0.2:
        return 1, math.floor(1 / share) if bound else round(1 / share)
    return math.ceil(100 * share) if bound else round(100 * share), 100
