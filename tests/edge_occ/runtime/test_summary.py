"""The figures of a run as lines."""

from edge_occ.runtime.summary import RunSummary


def test_a_run_without_frames_is_one_line():
    assert RunSummary(0, 0, 0, 0, 0.0, {}).lines() == [
        "0 frames, 0.0/s, 0 dropped; 0 anomalous, 0 events; capture to verdict - ms"
    ]


def test_faults_and_losses_have_lines_of_their_own():
    figures = {"p50": 1.25, "p95": 2.0, "p99": 30.0}
    summary = RunSummary(10, 3, 2, 1, 4.0, figures, {"engine": 1, "unreadable": 2}, {"MQTT": 5, "standard error": 1})
    assert summary.lines() == [
        "10 frames, 2.5/s, 3 dropped; 2 anomalous, 1 events; capture to verdict p50 1.2, p95 2.0, p99 30.0 ms",
        "not inspected: 1 engine, 2 unreadable",
        "output lost: 5 of MQTT, 1 of standard error",
    ]
