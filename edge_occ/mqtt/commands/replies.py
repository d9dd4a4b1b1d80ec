"""Replies of an inspector to commands: answers and snapshots, on topics that no request can change."""

from __future__ import annotations

import threading
import time

from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.receipts import DeliveryOutcome, Receipt
from edge_occ.mqtt.commands.answers import CommandAck
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.payloads import SnapshotInfo
from edge_occ.mqtt.topics import Topics

_RECEIPT_SECONDS = 10.0
_POLL_SECONDS = 0.02


class Replies:
    """Publishes for one camera; for the thread that carries out commands.

    Args:
        connection: of the camera.
        topics: of the camera.
        stopped: ends every wait.
    """

    def __init__(self, connection: Connection, topics: Topics, stopped: threading.Event) -> None:
        self._connection, self._topics, self._stopped = connection, topics, stopped
        self._unconfirmed: Receipt | None = None

    def acknowledge(self, answer: CommandAck) -> None:
        """Publish an answer with QoS 1; without a connection it is lost, and the request may be sent again.

        It waits for the receipt of the answer before, as a broker limits the messages without one.
        """
        topic = self._topics.command_ack
        if self._unconfirmed is not None and self._wait(self._unconfirmed) is DeliveryOutcome.REFUSED:
            self._connection.log.refused(topic, self._unconfirmed.reason)
        session = self._connection.session
        self._unconfirmed = self._connection.publish_confirmed(session, topic, answer.to_json())

    def snapshot(self, jpeg: bytes, info: SnapshotInfo) -> str:
        """Publish a picture, retained, and wait until the broker has it; return why that failed, or an empty text."""
        session, topic = self._connection.session, self._topics.snapshot
        payload = insert_comment(jpeg, info.to_json())
        limit = self._connection.max_payload(topic)
        if len(payload) > limit:
            return f"the picture has {len(payload)} bytes, and the largest message {limit}"
        properties = info.to_user_properties()
        self._connection.publish(session, topic, payload, retain=True, user_properties=properties)
        receipt = self._connection.fence(session)
        if receipt is not None and self._wait(receipt) is DeliveryOutcome.TAKEN:
            return ""
        return "the broker has not confirmed the picture"

    def _wait(self, receipt: Receipt) -> DeliveryOutcome | None:
        deadline = time.monotonic() + _RECEIPT_SECONDS
        while (outcome := receipt.outcome(self._connection.session)) is None and time.monotonic() < deadline:
            if self._stopped.wait(_POLL_SECONDS):
                break
        return outcome
