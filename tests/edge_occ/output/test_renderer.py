"""The renderer that several threads share."""

import gc
import threading
import weakref

import numpy as np
from mqtt_helpers import inspection

from edge_occ.output import renderer
from edge_occ.output.heatmap import encode_jpeg, overlay
from edge_occ.output.renderer import Renderer


def test_it_draws_what_overlay_draws():
    shown = inspection(7, 2.0)
    expected = encode_jpeg(overlay(shown.frame.image, shown.scores.map, 0.1, 1.0, 16))
    assert Renderer(0.1, 1.0, 16)(shown) == expected


def test_a_frame_is_drawn_once_for_all_threads(monkeypatch):
    drawn = []
    both_ask = threading.Barrier(2)

    def slow_overlay(frame, *rest):
        drawn.append(int(frame[0, 0, 0]))
        return overlay(frame, *rest)

    monkeypatch.setattr(renderer, "overlay", slow_overlay)
    render, shown, pictures = Renderer(0.1, 1.0, 64), inspection(7, 2.0), []

    def ask():
        both_ask.wait()
        pictures.append(render(shown))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [7]
    assert pictures[0] == pictures[1]
    render(inspection(8, 2.0))
    assert render(shown) == pictures[0]
    assert drawn == [7, 8, 7]


def test_it_keeps_no_frame_alive():
    render = Renderer(0.1, 1.0, 64)
    shown = inspection(7, 2.0)
    frame = weakref.ref(shown.frame)
    first = render(shown)
    del shown
    gc.collect()
    assert frame() is None
    other = inspection(200, 2.0)
    assert not np.array_equal(render(other), first), "not the picture of a frame that is gone"
