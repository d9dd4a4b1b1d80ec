from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection, render

from edge_occ.mqtt.jpeg import insert_comment, is_jpeg, read_comment


def test_a_comment_survives_and_the_picture_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    commented = insert_comment(jpeg, b'{"frame":7}')
    assert read_comment(commented) == b'{"frame":7}'
    assert read_comment(jpeg) is None
    before, after = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (jpeg, commented))
    np.testing.assert_array_equal(before, after)


def test_the_jfif_header_stays_first():
    commented = insert_comment(render(inspection()), b"x")
    assert commented[2:4] == b"\xff\xe0"
    assert commented[6:10] == b"JFIF"


def test_a_jpeg_without_jfif_header_is_taken_too():
    jpeg = render(inspection())
    length = int.from_bytes(jpeg[4:6], "big")
    bare = jpeg[:2] + jpeg[4 + length :]
    assert read_comment(insert_comment(bare, b"x")) == b"x"


@given(st.binary(max_size=65_533))
def test_any_comment_of_up_to_64_kib(comment):
    assert read_comment(insert_comment(render(inspection()), comment)) == comment


def test_too_long_a_comment_and_no_jpeg_are_refused():
    assert len(insert_comment(render(inspection()), bytes(65_533))) > 65_533
    with pytest.raises(ValueError, match="65533"):
        insert_comment(render(inspection()), bytes(65_534))
    with pytest.raises(ValueError, match="not a JPEG"):
        insert_comment(b"\x89PNG", b"x")


@given(st.binary(max_size=200), st.booleans())
def test_reading_never_raises(data, jpeg_head):
    data = b"\xff\xd8\xff" + data if jpeg_head else data
    found = read_comment(data)
    assert found is None or found in data
    assert is_jpeg(data) == data.startswith(b"\xff\xd8\xff")


@given(st.integers(0, 700))
def test_a_truncated_file_has_its_comment_or_none(length):
    commented = insert_comment(render(inspection()), b"comment")
    assert read_comment(commented[:length]) in (None, b"comment")
