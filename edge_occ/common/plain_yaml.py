"""YAML as settings need it: bounded, plain, every key once."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import closing
from typing import Any

import yaml

DEEPEST = 8
"""Levels of sections and lists; the deepest setting has four."""

LONGEST = 1000
"""Characters of one value: more than any path or number needs."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, less what no setting needs and what makes a small file large or a deep one endless."""

    _level = 0

    def close(self) -> None:
        self.dispose()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused("anchors (&) and aliases (*) are not read", event)
        if getattr(event, "tag", None) is not None:
            raise _refused("tags (!) are not read", event)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise _refused(f"a value of more than {LONGEST} characters", event)
        if self._level == DEEPEST:
            raise _refused(f"more than {DEEPEST} levels", event)
        self._level += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, Any]] = set()
            for key, _ in node.value:
                name = (key.tag, key.value if isinstance(key.value, str) else id(key))
                if name in seen:
                    raise _refused(f"{key.value} a second time", key)
                seen.add(name)
        return super().construct_mapping(node, deep)  # type: ignore[arg-type]


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - YAML holds anything
    """The value of a YAML document.

    Raises:
        ValueError: it is malformed, deeper than :data:`DEEPEST` levels, has a value longer than :data:`LONGEST`, an
            anchor, alias or tag, a key twice, or a number or date that is none; the message is one line.
    """
    try:
        with closing(_Loader(text)) as loader:
            return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError("; ".join(filter(None, (error.context, error.problem))) + where) from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _refused(what: str, at: Any) -> yaml.YAMLError:  # noqa: ANN401 - an event or a node
    return yaml.constructor.ConstructorError(None, None, what, at.start_mark)
