from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_occ.mqtt.client.limits import MAX_PACKET, BrokerLimits, HeatmapLimit


def refusal(code: int) -> ReasonCode:
    return ReasonCode(PacketTypes.CONNACK, identifier=code)


def connack(**values: int) -> Properties:
    properties = Properties(PacketTypes.CONNACK)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def test_a_refusal_lowers_only_what_it_names():
    assert BrokerLimits().after_refusal(refusal(0x9A)) == BrokerLimits(retain=False)
    assert BrokerLimits().after_refusal(refusal(0x9B)) == BrokerLimits(qos=0)
    assert BrokerLimits(qos=0).after_refusal(refusal(0x87)) == BrokerLimits(qos=0)


def test_the_answer_of_a_broker_sets_its_limits_and_keeps_those_of_refusals():
    limits = BrokerLimits(retain=False).after_connack(connack(MaximumPacketSize=20_000, ReceiveMaximum=7))
    assert limits == BrokerLimits(retain=False, packet=20_000, in_flight=7)
    assert limits.payload("a/b") < 20_000 - 3
    assert BrokerLimits(qos=0).after_connack(None) == BrokerLimits(qos=0)
    assert BrokerLimits().after_connack(connack(RetainAvailable=0, MaximumQoS=0)) == BrokerLimits(False, 0)


@pytest.mark.parametrize(
    ("properties", "seconds", "once"),
    [({}, 60, True), ({}, 0, False), ({"MaximumQoS": 1}, 60, False), ({"SessionExpiryInterval": 0}, 60, False)],
)
def test_messages_are_taken_once_where_the_broker_has_qos_2_and_keeps_the_session(properties, seconds, once):
    assert BrokerLimits().after_connack(connack(**properties), seconds).once is once


def test_three_failures_in_a_row_halve_the_smallest_heatmap():
    limit = HeatmapLimit()
    assert [limit.failed(size) for size in (9000, 5000)] == [False, False]
    limit.succeeded()
    assert [limit.failed(size) for size in (9000, 5000, 7000)] == [False, False, True]
    assert limit.max_bytes == 2500
    assert not limit.failed(2000)
    assert HeatmapLimit().max_bytes == MAX_PACKET
