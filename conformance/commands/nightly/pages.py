"""The pages of what is published: one for each environment, and the cover that leads to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from conformance.commands import badge
from conformance.commands.nightly.archive import POINTER, read_pointer
from conformance.report import write
from conformance.results import Run, read
from conformance.results.diff.comparison import Diff
from conformance.results.diff.text import as_markdown
from conformance.results.history.queries import summary
from conformance.text import printable


def write_pages(run: Run, good: Run | None, found: Diff, folder: Path, environment: str) -> None:
    """Write the page, the diff and the badges."""
    since, text = "", "There was no good night to compare with."
    if good is not None:
        since = f"the last good night, {good.header.started or 'of an unknown time'}"
        text = as_markdown(found)
    (folder / "diff.md").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    # A page says where its results are, which is no path of the machine that wrote it.
    shown = replace(run, path=f"{environment}/results.jsonl")
    changes = None if good is None else found
    write([shown], folder / "index.html", changes=changes, since=since, history=summary(folder / "history"))
    shutil.rmtree(folder / "badges", ignore_errors=True)
    for _ in badge.write(run, folder / "badges"):
        pass


def cover(site: Path) -> None:
    """
    Write the page that leads to those of every environment, and the one that shows their last nights beside each other.

    The pages are `index.html` and `beside.html` of the site. Nothing is read but what was published.
    """
    shown: list[dict[str, Any]] = []
    runs: list[Run] = []
    for folder in sorted(each for each in site.iterdir() if (each / POINTER).is_file()):
        pointer = read_pointer(folder)
        shown.append({"name": folder.name, **pointer})
        if latest := pointer["latest"]:
            run = read(folder / str(latest["file"]))
            runs.append(replace(run, path=folder.name))
    beside = site / "beside.html"
    if len(runs) > 1:
        write(runs, beside)
    else:
        beside.unlink(missing_ok=True)
    template = _templates().get_template("cover.html.jinja")
    page = template.render(environments=shown, beside=len(runs) > 1)
    (site / "index.html").write_text(page, encoding="utf-8", newline="\n")
    # Pages of GitHub leave out what begins with a dot unless told not to build anything.
    (site / ".nojekyll").touch()


def _templates() -> Environment:
    loader = PackageLoader("conformance.commands.nightly", ".")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["plain"] = lambda content: printable(str(content))
    return found
