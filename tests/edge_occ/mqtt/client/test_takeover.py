from __future__ import annotations

import pytest

from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.client.connection_log import CLOSED, TAKEN_OVER, ConnectionLog
from edge_occ.mqtt.client.paho_client import RECONNECT_SECONDS
from edge_occ.mqtt.client.takeover import TakeoverDetector


@pytest.fixture
def detector() -> TakeoverDetector:
    return TakeoverDetector("edge-occ:station-7", ConnectionLog(Broker("host", 1883)))


def pauses(detector: TakeoverDetector, reason: str, seconds: float, count: int) -> list[tuple[int, int]]:
    """Pauses after connections that ended after so many seconds."""
    result = []
    for start in range(0, 100 * count, 100):
        detector.connected(start)
        result.append(detector.disconnected(reason, start + seconds))
    return result


def test_a_reported_takeover_doubles_the_pause_up_to_a_minute(detector, caplog):
    assert pauses(detector, TAKEN_OVER, 30.0, 6) == [(5, 30), (10, 30), (20, 30), (40, 40), (60, 60), (60, 60)]
    assert (
        "another client with the id edge-occ:station-7 has taken over the connection to mqtt://host:1883" in caplog.text
    )
    assert "--set mqtt.camera=NAME" in caplog.text


def test_the_fourth_short_connection_in_a_row_counts_as_a_takeover(detector, caplog):
    assert pauses(detector, CLOSED, 1.0, 5) == [RECONNECT_SECONDS] * 3 + [(5, 30), (10, 30)]
    assert "probably another client" in caplog.text


@pytest.mark.parametrize(("reason", "seconds"), [(CLOSED, 15.0), ("Keep alive timeout", 1.0)])
def test_a_bad_network_is_not_a_takeover(detector, caplog, reason, seconds):
    assert pauses(detector, reason, seconds, 20) == [RECONNECT_SECONDS] * 20
    assert "another client" not in caplog.text


def test_a_long_connection_between_short_ones_starts_the_count_again(detector):
    assert pauses(detector, CLOSED, 1.0, 3) == [RECONNECT_SECONDS] * 3
    assert pauses(detector, CLOSED, 60.0, 1) == [RECONNECT_SECONDS]
    assert pauses(detector, CLOSED, 1.0, 3) == [RECONNECT_SECONDS] * 3
