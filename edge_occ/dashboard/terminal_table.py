"""The state of a line as tables for a terminal; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_occ.common.printable import printable

BAR = 20
"""Characters of a score's bar: its middle is the threshold, its end is twice the threshold or more."""

_STYLES = {"anomalous": "bold red", "fault": "bold red", "review": "yellow", "normal": "green", "building": "cyan"}
_LEFT_OUT = "dim"
_MAX_NAME, _MAX_DETAIL, _ID = 40, 120, 8


def line_tables(
    tiles: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], rows: int = 24, *, ascii_only: bool = False
) -> RenderableType:
    """Return two tables: cameras with state, score and rates, and the latest events.

    Args:
        tiles: all of :meth:`edge_occ.dashboard.state.LineState.changes`.
        events: of :meth:`edge_occ.dashboard.state.LineState.events`, the latest first.
        rows: of the terminal; events get what the cameras leave, and cameras that do not fit are counted.
        ascii_only: draw with ASCII alone, for terminals without UTF-8.
    """
    cameras = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("camera", "state", "score : threshold", "score", "frames/s", "p95 ms", "dropped"):
        cameras.add_column(heading, no_wrap=True, justify="left" if heading in _WORDS else "right")
    space = max(rows - 3, 1)
    shown = tiles[:space]
    for tile in shown:
        cameras.add_row(*_camera(tile, ascii_only))
    parts: list[RenderableType] = [cameras]
    if len(tiles) > len(shown):
        parts.append(Text(f"and {len(tiles) - len(shown)} more", _LEFT_OUT))
    left = space - len(shown) - 2
    if left > 0 and events:
        listed = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("event", "camera", "began (UTC)", "peak", "frames", ""):
            listed.add_column(heading, no_wrap=True, justify="right" if heading in {"peak", "frames"} else "left")
        for event in events[:left]:
            listed.add_row(*_event(event))
        parts += [Text(), listed]
    return Group(*parts)


def score_bar(score: float, threshold: float, *, ascii_only: bool = False) -> str:
    """Return a bar of 20 characters: filled up to the score, with a mark at the threshold, which is its middle."""
    full, empty, mark = ("#", "-", "|") if ascii_only else ("█", "░", "│")
    share = score / threshold if threshold > 0 else 2.0
    filled = min(max(round(share * BAR / 2), 0), BAR)
    bar = full * filled + empty * (BAR - filled)
    return bar[: BAR // 2] + mark + bar[BAR // 2 :]


_WORDS = {"camera", "state", "score : threshold"}


def _camera(tile: Mapping[str, Any], ascii_only: bool) -> list[Text]:
    condition, score, stats = tile.get("condition", {}), tile.get("score", {}), tile.get("stats", {})
    state = condition.get("name", "waiting")
    style = _STYLES.get(state, _LEFT_OUT)
    words = f"{state}, drift" if stats.get("drift_alarm") else state
    if condition.get("detail"):
        words += f": {condition['detail']}"
    gone = state in {"offline", "silent"}
    bar = score_bar(score["score"], score["threshold"], ascii_only=ascii_only) if score else ""
    return [
        Text(_name(tile), _LEFT_OUT if gone else ""),
        Text(_short(words, _MAX_DETAIL), style),
        Text(bar, _LEFT_OUT if gone else _STYLES.get(score.get("verdict", ""), "")),
        Text(f"{score['score']:.4g}" if score else ""),
        Text(f"{stats['fps']:.1f}" if stats else ""),
        Text(f"{stats['latency_p95_ms']:.1f}" if stats.get("latency_p95_ms") else ""),
        Text(str(stats["dropped"]) if stats else ""),
    ]


def _event(event: Mapping[str, Any]) -> list[Text]:
    began = event.get("started")
    moment = "" if began is None else datetime.fromtimestamp(began / 1000, timezone.utc).strftime("%m-%d %H:%M:%S")
    marks = [
        word
        for word, so in (("under way", event["open"]), ("sent late", event["historical"]), ("muted", event["muted"]))
        if so
    ]
    return [
        Text(printable(event["id"])[:_ID]),
        Text(_name(event)),
        Text(moment),
        Text(f"{event['peak']:.4g}"),
        Text(str(event["frames"])),
        Text(", ".join(marks), "bold red" if event["open"] and not event["muted"] else _LEFT_OUT),
    ]


def _name(of: Mapping[str, Any]) -> str:
    return _short("/".join(filter(None, (of["place"], of["device"], of["camera"]))), _MAX_NAME)


def _short(text: str, characters: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= characters else shown[: characters - 3] + "..."
