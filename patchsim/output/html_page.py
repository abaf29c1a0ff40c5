"""Pages that are single HTML files and load nothing.

A Content-Security-Policy forbids requests and all scripts and styles but the page's own. Texts are
escaped by the template, and by `json_of` where they stand in a script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from patchsim.errors import printable


def render(package: str, context: dict[str, Any]) -> bytes:
    """Fill ``page.html.j2`` of a package, with its ``page.css`` and ``page.js``.

    Parameters
    ----------
    package : str
        The name of the package that has the three files.
    context : dict
        What the template takes.
    """
    import jinja2  # which takes longer to load than most searches

    files = resources.files(package)
    style, script = (
        files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["printable_text"] = printable
    template = environment.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    text = template.render(policy=policy, style=style, script=script, **context)
    return text.encode(errors="replace")  # lone surrogates of file names


def json_of(value: Any) -> str:
    """Return JSON that may stand between tags of a script."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_url(kind: str, data: bytes) -> str:
    """Return a file's data as the address of a picture; `kind` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
