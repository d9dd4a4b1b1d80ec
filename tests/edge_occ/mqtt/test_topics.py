from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_occ.common.errors import InputError
from edge_occ.mqtt.topics import Topics, check_prefix_filter, mqtt_string, split_topic

LEVEL = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_. "), min_size=1, max_size=12)


def test_names_are_those_of_the_contract():
    topics = Topics("edge-occ", "camera-1")
    assert topics.status == "edge-occ/camera-1/status"
    assert topics.score == "edge-occ/camera-1/score"
    assert topics.event == "edge-occ/camera-1/event"
    assert topics.heatmap == "edge-occ/camera-1/heatmap"
    assert topics.stats == "edge-occ/camera-1/stats"


def test_a_camera_is_one_more_level():
    topics = Topics("edge-occ", "station", "left")
    assert topics.base == "edge-occ/station/left"
    assert topics.event == "edge-occ/station/left/event"
    assert split_topic(topics.event, "edge-occ") == ("", "station", "left", "event")
    with pytest.raises(InputError, match="set mqtt"):
        Topics("edge-occ", "station", "+")
    with pytest.raises(InputError, match="one level"):
        Topics("edge-occ", "station", "a/b")


@given(st.text(st.characters(), max_size=400), st.integers(1, 300))
def test_any_text_becomes_a_string_that_mqtt_allows(text, most):
    made = mqtt_string(text, most)
    assert len(made.encode()) <= most  # so it holds no surrogates
    codes = [ord(character) for character in made]
    assert not any(code < 0x20 or 0x7F <= code < 0xA0 or code & 0xFFFE == 0xFFFE for code in codes)
    assert not any(0xFDD0 <= code <= 0xFDEF for code in codes)
    if text.isprintable() and text.isascii():
        assert made == text[:most]


@pytest.mark.parametrize(
    "prefix", ["", "/edge-occ", "edge-occ/", "a//b", "a/+/b", "a/#", "a\0b", "$SYS", "a\nb", "\ud800", "x" * 600, "￿"]
)
def test_prefixes_that_some_broker_would_refuse(prefix):
    with pytest.raises(InputError, match="set mqtt"):
        Topics(prefix, "camera-1")


@pytest.mark.parametrize("device", ["", "a/b", "+", "#", "a+b", "$a", "a\x1b[31m"])
def test_a_device_is_exactly_one_level(device):
    with pytest.raises(InputError):
        Topics("edge-occ", device)


@given(st.lists(LEVEL, min_size=1, max_size=4).map("/".join), LEVEL)
def test_topics_split_into_what_they_were_made_of(prefix, device):
    topics = Topics(prefix, device)
    assert split_topic(topics.score, prefix) == ("", device, None, "score")
    assert topic_matches_sub(f"{prefix}/+/score", topics.score)
    assert not topic_matches_sub(f"{prefix}/+/event", topics.score)


@given(st.lists(st.tuples(LEVEL, st.booleans()), min_size=1, max_size=5), LEVEL, st.none() | LEVEL)
def test_a_prefix_with_open_levels_matches_what_a_broker_sends_for_it(levels, device, camera):
    prefix = "/".join("+" if is_open else level for level, is_open in levels)
    check_prefix_filter(prefix)
    topics = Topics("/".join(level for level, _ in levels), device, camera)
    place = "/".join(level for level, is_open in levels if is_open)
    assert split_topic(topics.score, prefix) == (place, device, camera, "score")
    for other in (f"x/{topics.score}/x", topics.score.replace(levels[0][0], levels[0][0] + "x", 1)):
        assert (split_topic(other, prefix) is not None) <= any(
            topic_matches_sub(f"{prefix}/{rest}", other) for rest in ("+/score", "+/+/score", "+/x", "+/+/x")
        )


def test_an_open_level_is_a_whole_level_and_has_a_name():
    for prefix in ("a/+b", "+a", "a/#", "+/#", "a//+", "/+", "+/", "", "$SYS/+"):
        with pytest.raises(InputError, match="set mqtt"):
            check_prefix_filter(prefix)
    assert split_topic("acme/hamburg/line3/edge-occ/a/event", "acme/+/+/edge-occ") == (
        "hamburg/line3",
        "a",
        None,
        "event",
    )
    assert split_topic("acme//line3/edge-occ/a/event", "acme/+/+/edge-occ") is None, "an empty name"


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_refused_or_makes_one_plain_topic(prefix, device):
    try:
        topics = Topics(prefix, device)
    except InputError:
        return
    levels = topics.event.split("/")
    assert all(levels)
    assert levels[-2:] == [device, "event"]
    assert not set(topics.event) & set("+#\0")
    topics.event.encode()


@pytest.mark.parametrize("topic", ["edge-occ/status", "edge-occ/a/b/c/status", "other/a/status", "edge-occ-2/a/status"])
def test_other_topics_are_not_ours(topic):
    assert split_topic(topic, "edge-occ") is None
