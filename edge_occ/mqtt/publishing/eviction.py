"""Eviction: what a full event store drops, so that an event is kept whole or not at all."""

from __future__ import annotations

from typing import NamedTuple

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publishing.event_rows import EventRow, EventRows
from edge_occ.mqtt.publishing.event_store import ROW_BYTES


class Evicted(NamedTuple):
    """What was dropped.

    Attributes:
        messages: their number.
        size: their bytes, as they count against the budget.
        abandoned: events among them whose end was not put yet.
    """

    messages: int
    size: int
    abandoned: set[str]


def evict(rows: EventRows, cursor: int, excess: int) -> Evicted:
    """Drop updates, oldest first, then the oldest events whole, until ``excess`` bytes are freed or nothing can go.

    Args:
        rows: the messages, within a transaction.
        cursor: messages up to this one were taken and stay; an event whose start was handed over stays, too.
        excess: bytes to free.

    Raises:
        sqlite3.Error: the rows cannot be read or written.
    """
    messages, size = 0, 0
    abandoned: set[str] = set()
    while size < excess:
        update = rows.oldest_update(cursor)
        victims: list[EventRow] = [] if update is None else [update]
        if update is None and (whole := rows.oldest_droppable(cursor)) is not None:
            identifier, victims = whole
            if not any(row.phase is Phase.END for row in victims):
                abandoned.add(identifier)
                rows.close_event(identifier)
        if not victims:
            break
        for row in victims:
            rows.delete(row.seq)
            size += row.payload_bytes + ROW_BYTES
        messages += len(victims)
    return Evicted(messages, size, abandoned)
