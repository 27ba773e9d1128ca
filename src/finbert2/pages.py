"""Pages for a browser from the packages' own templates."""

import importlib.resources
from typing import Any


def render(package: str, name: str, **context: Any) -> str:
    """Return a template of a package filled in; texts are escaped."""
    import jinja2

    source = (importlib.resources.files(package) / name).read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(**context)
