"""CIFAR's Python format, a pickle, read as data: nothing is imported, looked up or called.

``pickletools`` splits the file into its instructions.  Those that build dictionaries, lists, strings and numbers are
followed, those by which numpy describes an array are kept as lists, and any other is refused.  That is enough for the
published files, written by Python 2, and for the same written by Python 3 in protocols 2 to 4.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.formats.files import read_bounded

_MAX_BYTES = 2**28
"""CIFAR-100's training half is about 155 MB, nearly all of it one string."""

_MOST_INSTRUCTIONS = 10**6
"""That half has about 200,000, four an image; each can make one small object."""

_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_ENCODE = "_codecs encode"
"""By which Python 3 writes bytes in protocol 2."""
_NAMES = (
    *("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"),
    *("numpy ndarray", "numpy dtype", _ENCODE),
)


def read_batch(path: Path, key: str, advice: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The array ``data`` and the list of labels of a batch.

    Args:
        path: of the file.
        key: of the labels.
        advice: where to get the same in the binary format.

    Returns:
        uint8 ``[n, d]`` and uint8 ``[n]``.

    Raises:
        InputError: unreadable, too large, cut short, an instruction or a name that no such file has, or no such batch.
    """
    content = read_bounded(path, _MAX_BYTES, advice)
    try:
        batch = _follow(content)
        data = _array(batch["data"])
        labels = _labels(batch[key], len(data))
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # the last three: pieces that do not fit
        found = str(error) if isinstance(error, ValueError) else "one of another structure"
        raise InputError(f"a dictionary of images and {key} in {path}, as published", found, advice) from None
    return data, labels


def _follow(content: bytes) -> Any:  # noqa: ANN401 - whatever the file holds
    """What the instructions build, of builtin types alone; a description by numpy is ``[name, arguments, state]``."""
    stack: list[Any] = []
    marks: list[int] = []
    memory: dict[int, Any] = {}
    push, pop = stack.append, stack.pop

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def extend(items: list[Any]) -> None:
        stack[-1].extend(items)

    def update(items: list[Any]) -> None:
        keys = [key if isinstance(key, str) else key.decode("latin-1") for key in items[::2]]
        stack[-1].update(zip(keys, items[1::2], strict=True))

    def name(*words: str) -> None:
        whole = " ".join(word if isinstance(word, str) else "?" for word in words)
        if whole not in _NAMES:
            raise ValueError(f"the name {whole[:80]!r}, which no such file uses")
        push(whole)

    def describe(arguments: Any, what: str) -> None:  # noqa: ANN401
        push(arguments[0].encode("latin-1") if what == _ENCODE else [what, arguments])

    steps: dict[str, Callable[[Any], object]] = {
        "NONE": lambda _: push(None),
        "NEWTRUE": lambda _: push(True),
        "NEWFALSE": lambda _: push(False),
        "EMPTY_DICT": lambda _: push({}),
        "EMPTY_LIST": lambda _: push([]),
        "EMPTY_TUPLE": lambda _: push(()),
        "MARK": lambda _: marks.append(len(stack)),
        "TUPLE": lambda _: push(tuple(since_mark())),
        "TUPLE1": lambda _: push((pop(),)),
        "TUPLE2": lambda _: push((pop(), pop())[::-1]),
        "TUPLE3": lambda _: push((pop(), pop(), pop())[::-1]),
        "APPEND": lambda _: stack[-2].append(pop()),
        "APPENDS": lambda _: extend(since_mark()),
        "SETITEM": lambda _: update([pop(), pop()][::-1]),
        "SETITEMS": lambda _: update(since_mark()),
        "GLOBAL": name,
        "STACK_GLOBAL": lambda _: name(*(pop(), pop())[::-1]),
        "REDUCE": lambda _: describe(pop(), pop()),
        "BUILD": lambda _: stack[-2].append(pop()),
        "MEMOIZE": lambda _: memory.update({len(memory): stack[-1]}),
    }
    steps |= dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda place: memory.update({place: stack[-1]}))
    steps |= dict.fromkeys(("BINGET", "LONG_BINGET"), lambda place: push(memory[place]))
    steps |= dict.fromkeys(_VALUES, push) | dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _: None)
    for count, (instruction, argument, place) in enumerate(pickletools.genops(io.BytesIO(content))):
        if instruction.name not in steps or count == _MOST_INSTRUCTIONS:
            raise ValueError(f"instruction {instruction.name}, number {count + 1:,}, at byte {place}")
        steps[instruction.name](argument)
    return stack.pop()


def _labels(found: Any, count: int) -> NDArray[np.uint8]:  # noqa: ANN401
    if not isinstance(found, list) or not all(type(label) is int and 0 <= label < 256 for label in found):
        raise ValueError("labels that are no list of small numbers")
    if len(found) != count:
        raise ValueError(f"{len(found):,} labels for {count:,} images")
    return np.array(found, np.uint8)


def _array(described: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """Two axes of bytes; the state is version, shape, type, whether columns come first, and content."""
    match described:
        case [str(), _, (_, (int(rows), int(columns)), ["numpy dtype", ("u1", *_), *_], bool(by_columns), content)]:
            content = content.encode("latin-1") if isinstance(content, str) else content
            if rows >= 0 and rows * columns == len(content):
                flat = np.frombuffer(content, np.uint8)
                return flat.reshape((rows, columns), order="F" if by_columns else "C")
    raise ValueError("no array of bytes with two axes under 'data'")
