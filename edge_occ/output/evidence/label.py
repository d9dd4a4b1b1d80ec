"""An operator's label of an event, ``label.json`` next to its evidence."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.errors import InputError
from edge_occ.common.file_name import FILE_NAME
from edge_occ.inspection.evidence import DAY, EVENT, PIECE

LABEL = "label.json"
LABELS = ("good", "defect")

_SCHEMA = "edge-occ/label/1"
_LIMIT = 4096
"""Bytes of a label's file that are read; it has about 70."""

_PATH = re.compile(rf"(?P<event>{FILE_NAME}/{DAY}/{EVENT})(?:/(?:{PIECE}/)?[a-z]+\.[a-z]+)?")


def mark(folder: Path, event_path: str, label: str, clock: Clock = SYSTEM_CLOCK) -> Path:
    """Write the label of an event, in place of an earlier one.

    Args:
        folder: evidence folder.
        event_path: folder of the event, or a file of its evidence, relative to ``folder`` as event messages name them;
            not trusted.
        label: ``good`` or ``defect``; not trusted.
        clock: replaced in tests.

    Returns:
        The file.

    Raises:
        InputError: another label, a path of another form or that leaves the folder, no such event any more, or a folder
            that cannot be written.
    """
    if label not in LABELS:
        raise InputError(f"a label of {', '.join(LABELS)}", repr(label)[:80], "send one of them")
    match = _PATH.fullmatch(event_path)
    if match is None:
        raise InputError(
            "the path of an event's evidence, camera/day/time-id",
            repr(event_path)[:200],
            "take it from an event message",
        )
    event = folder / match["event"]
    if not event.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"evidence in {folder}", f"{match['event']}, a link to elsewhere", "remove the link")
    content = {"schema": _SCHEMA, "label": label, "at": round(clock.now().timestamp() * 1000)}
    # The event's folder is not made: the ring may have removed it.
    temporary = event / f".{LABEL}.{secrets.token_hex(6)}.part"
    try:
        try:
            with temporary.open("x") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(event / LABEL)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"evidence in {event}", "none: it was removed or never kept", "mark events that are listed now"
        ) from None
    except OSError as error:
        raise InputError(
            f"a folder {event} that can be written", str(error.strerror), "make room, or see its owner"
        ) from None
    return event / LABEL


def read_label(event: Path) -> str | None:
    """Return the label of an event, ``good`` or ``defect``; ``None`` where nobody has marked it, or it has gone.

    Args:
        event: folder of the event.

    Raises:
        InputError: the file cannot be read or holds no label.
    """
    path = event / LABEL
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LIMIT))
        found = f"schema {content['schema']!r}, label {content['label']!r}"[:200]
        if content["schema"] == _SCHEMA and content["label"] in LABELS:
            return str(content["label"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        found = str(error.strerror)
    except (ValueError, KeyError, TypeError, RecursionError):
        found = "something else"
    raise InputError(
        f"a label ({_SCHEMA}) of {', '.join(LABELS)} in {path}", found, "mark the event again, or remove the file"
    )
