"""Pages that stand alone: templates filled, pictures inside."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lesionforge import __version__
from lesionforge.provenance import atomic
from lesionforge.report import tables


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill a template of `lesionforge/report/templates` and write the page; returns its path.

    Values are escaped. Filters: `picture` (a PNG file as data URI) and the tables' number formats.
    """
    page = _environment().get_template(template).render(version=__version__, **values)
    with atomic(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lesionforge.report", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "picture": _picture,
        "percent": tables.percent,
        "points": tables.points,
        "signed": tables.signed,
        "interval": tables.interval,
        "number": tables.number,
        "p_value": tables.p_value,
    }
    made.filters |= filters
    return made


def _picture(path: Path) -> str:
    return data_uri(path.read_bytes(), "png")


def data_uri(data: bytes, kind: str) -> str:
    """Return the content of a picture file (`png`, `jpeg`) as the text of a data URI."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()
