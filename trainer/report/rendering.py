"""The Jinja templates of pages, model cards and tables, in the folder ``templates``."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(enabled_extensions=("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")


def render(template: str, **values: object) -> str:
    """Render a template; values are escaped in HTML and inserted unchanged in Markdown.

    Args:
        template: a file name in ``templates``.
        values: the variables of the template; a missing one raises :class:`jinja2.UndefinedError`.
    """
    return _ENVIRONMENT.get_template(template).render(values)
