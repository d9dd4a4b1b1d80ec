"""Lines for people."""

from dataclasses import replace

from mqtt_helpers import inspection

from edge_occ.inspection.events import Phase
from edge_occ.output.console import ConsoleSink


def shown(capfd, sink, *inspections):
    for one in inspections:
        sink.publish(one)
    return capfd.readouterr().err.splitlines()


def for_review(index):
    plain = inspection(index, 0.9)
    return replace(plain, verdict=replace(plain.verdict, review_threshold=0.5))


def test_starts_and_ends_have_a_line_and_other_frames_none(capfd):
    sink = ConsoleSink()
    frames = [inspection(0), inspection(1, 2, event=Phase.START), inspection(2, 3, event=Phase.UPDATE)]
    assert shown(capfd, sink, *frames) == ["start  frame 1  score 2.0  p 0.2500  peak 2.0"]
    sink.finish(inspection(3, event=Phase.END, name="last.png"))
    assert capfd.readouterr().err.startswith("end    last.png  score 0.5")


def test_a_few_frames_for_review_a_minute_have_a_line(capfd):
    lines = shown(capfd, ConsoleSink(), *map(for_review, range(20)))
    assert lines[0] == "review  frame 0  score 0.9  p 0.2500"
    assert len(lines) == 5


def test_an_end_at_a_frame_for_review_does_not_show_it_again(capfd):
    sink, frame = ConsoleSink(), for_review(4)
    assert len(shown(capfd, sink, frame)) == 1
    sink.finish(replace(frame, event=inspection(event=Phase.END).event))
    assert [line[:5] for line in capfd.readouterr().err.splitlines()] == ["end  "]
