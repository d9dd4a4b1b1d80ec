"""Helpers of the tests of sources: a source played to its end."""

from __future__ import annotations

from edge_occ.common.errors import UserError
from edge_occ.sources.faults import Fault
from edge_occ.sources.frame import Frame


def number_of(frame):
    return int(frame.image[0, 0, 0])


def play(source):
    """Everything up to the end, and the error that it ended with, if any."""
    items = []
    try:
        with source:
            items.extend(source)
    except UserError as error:
        return items, error
    return items, None


def faults(items):
    return [item for item in items if isinstance(item, Fault)]


def frames_of(items):
    return [item for item in items if isinstance(item, Frame)]
