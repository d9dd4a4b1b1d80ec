"""The Jinja templates of pages, model cards and tables, in the folder ``templates``."""

from __future__ import annotations

import base64
import hashlib
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
# The expression by which a Content-Security-Policy permits an inline style or script (CSP level 3, section 2.3.1).
_ENVIRONMENT.filters["csp"] = lambda text: f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def resource(name: str) -> str:
    """Return the text of a file in ``templates`` as it is."""
    return Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")


def render(template: str, **values: object) -> str:
    """Render a template; values are escaped in HTML and inserted unchanged in Markdown.

    Args:
        template: a file name in ``templates``.
        values: the variables of the template; a missing one raises :class:`jinja2.UndefinedError`.
    """
    return _ENVIRONMENT.get_template(template).render(values)
