"""
The page's script, and the content security policy under which a browser runs it.

The script is a bundle of the modules under `assets` and of the parts of d3 that they import. `make bundle` builds it
with esbuild by `assets/bundle/recipe`, and it is checked in, so that users of the suite need no npm. The policy names
the script by its hash, so that a browser runs nothing else on the page.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files
from typing import Final

#: The place of the script in the output of the template. Values cannot contain it, as their `<` are escaped.
PLACE: Final = "<!-- scripts -->\n"


@functools.cache
def script() -> str:
    """Return the text of the script, preceded by the licences of the packages in it."""
    return f"/*!\n{_read('LICENSE')}*/\n{_read('page.min.js')}"


def _read(name: str) -> str:
    return files("conformance.report").joinpath("assets", "bundle", name).read_text(encoding="utf-8")


@functools.cache
def policy() -> str:
    """Return the content security policy: this script, the styles of the page, and no requests."""
    digest = base64.b64encode(hashlib.sha256(script().encode("utf-8")).digest()).decode("ascii")
    return (
        "default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def put(page: str, data: str) -> str:
    """
    Return a page with its script and the script's data.

    - `page`: the output of the template, with `PLACE` in it once.
    - `data`: JSON without any text that ends a script element.

    Raises:
        ValueError: `page` has no `PLACE`, or several.
    """
    before, place, after = page.partition(PLACE)
    if not place or PLACE in after:
        raise ValueError("the template has not exactly one place for the scripts")
    block = f'<script type="application/json" id="data">{data}</script>\n'
    block += f'<script type="module">{script()}</script>\n'
    return before + block + after
