"""
The page's scripts: its own modules as one, the parts of d3 they use, and the policy under which a browser runs them.

There is no build step: the modules under `assets` are joined in order, each in a scope of its own, and the lines by
which they import one another are left out. `make vendor` builds the parts of d3 from `assets/vendor/recipe`. The policy
names each script by its hash, so that nothing else on the page can ever run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib.resources import files
from typing import Final

#: The page's own modules, each after those it imports from.
MODULES: Final = (
    *("dom.js", "address.js", "data.js", "matrix_rows.js", "matrix.js", "question.js", "cell.js", "case.js"),
    *("chart.js", "plots.js", "rule_shapes.js", "rule.js", "main.js"),
)
#: The parts of d3 that the modules use, and the licences of all packages they come from.
VENDOR: Final = "d3.min.js"
LICENCES: Final = "d3.LICENSE"
#: Where in the template's output the scripts go. No content can hold it, as every `<` of content is escaped.
PLACE: Final = "<!-- scripts -->\n"

_IMPORT: Final = re.compile(r"^import \{[^}]*\} from \"\./[a-z_]+\.js\";\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)


def _read(name: str) -> str:
    return (
        files("conformance.report")
        .joinpath("assets", *name.split("/"))
        .read_text(encoding="utf-8")
        .replace("\r\n", "\n")
    )


@functools.cache
def own() -> str:
    """Return the page's own modules as one."""
    return "".join(_scoped(_read(name)) for name in MODULES)


def _scoped(module: str) -> str:
    exported = ", ".join(_EXPORT.findall(module))
    inside = _EXPORT.sub("", _IMPORT.sub("", module))
    return f"const {{ {exported} }} = (() => {{\n{inside}return {{ {exported} }};\n}})();\n"


@functools.cache
def vendor() -> str:
    """Return the parts of d3 with their licences, as one classic script that makes the global `d3`."""
    return f"/*!\n{_read(f'vendor/{LICENCES}')}*/\n{_read(f'vendor/{VENDOR}')}"


@functools.cache
def policy() -> str:
    """Return the content security policy: these scripts, styles of the page itself, and no request to anywhere."""
    allowed = " ".join(f"'sha256-{_hash(each)}'" for each in (vendor(), own()))
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _hash(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


def put(page: str, data: str) -> str:
    """Return `page` with the scripts, and with `data` for them, which must have nothing in it that ends a script."""
    before, place, after = page.partition(PLACE)
    if not place or PLACE in after:
        raise ValueError("the template has not exactly one place for the scripts")
    block = f'<script type="application/json" id="data">{data}</script>\n'
    block += f'<script>{vendor()}</script>\n<script type="module">{own()}</script>\n'
    return before + block + after
