"""The state of the device while frames cannot be inspected or do not arrive."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from mqtt_helpers import Ear, inspection, payloads, render

from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.stats_payload import Stats
from edge_occ.sources.faults import Fault, Reason, Unscored


def black(index=0):
    return Fault(index, datetime.now(timezone.utc), Unscored(Reason.BLACK, "mean 1 of 255"))


def states(ear):
    return [(told["state"], told["detail"]) for told in payloads(ear.of("status"))]


def test_a_fault_that_lasts_is_a_state_until_frames_are_good_again(config, ear):
    """And one that does not last is none."""
    with Publisher(config, render, fault_after=0.3) as publisher:
        publisher.fault(black())
        publisher.publish(inspection(1))
        begun = time.monotonic()
        while time.monotonic() - begun < 0.6:
            publisher.fault(black())
            time.sleep(0.02)
        ear.wait_for_state("fault")
        publisher.publish(inspection(2))
        ear.wait_for_state("online", 2)
    ear.wait_for_state("offline")
    assert states(ear) == [
        ("online", None), ("fault", "black: mean 1 of 255"), ("online", None), ("offline", None)
    ]  # fmt: skip
    stats = Stats.model_validate_json(bytes(ear.of("stats")[-1].payload))
    assert stats.faults_black == stats.faults > 2
    assert stats.frames == 2


def test_a_silent_source_is_a_state_where_frames_are_expected(config, ear):
    """The thread of the frames waits for the next one, so it cannot tell."""
    quick = config.model_copy(update={"stats_seconds": 0.1})
    with Publisher(quick, render, fault_after=0.4) as publisher:
        ear.wait_for_kind("stats", 8)
        assert [state for state, _ in states(ear)] == ["online"], "nothing is expected before the source begins"
        publisher.expect_frames()
        ear.wait_for_state("fault")
        publisher.publish(inspection(1))
        ear.wait_for_state("online", 2)
    ear.wait_for_state("offline")
    assert states(ear)[1][1] == "silent: no frame from the source for 0.4 s or more"


def test_a_fault_is_reported_again_after_a_reconnection(own_broker, config):
    at_own = config.model_copy(update={"broker": own_broker.url, "stats_seconds": 0.1})
    with Ear(own_broker.port, "plant/#") as ear, Publisher(at_own, render, fault_after=0.1) as publisher:
        publisher.expect_frames()
        ear.wait_for_state("fault")
        own_broker.stop()
        own_broker.start()
        ear.wait_for_state("fault", 2)
