"""The pages of a published site: one for each environment, and the cover with links to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from conformance.commands import badge
from conformance.commands.nightly.archive import POINTER, read_pointer
from conformance.report import write
from conformance.results import Run, read
from conformance.results.diff.comparison import Diff
from conformance.results.diff.text import as_markdown
from conformance.results.history.queries import summary
from conformance.text import printable


def write_pages(run: Run, good: Run | None, changes: Diff, folder: Path, environment: str) -> None:
    """Write the page, the diff and the badges."""
    since, text = "", "There was no good night to compare with."
    if good is not None:
        since = f"the last good night, {good.header.started or 'of an unknown time'}"
        text = as_markdown(changes)
    (folder / "diff.md").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    # A page names its results file, but not the folders of the machine that wrote it.
    renamed = replace(run, path=f"{environment}/results.jsonl")
    since_good = None if good is None else changes
    write([renamed], folder / "index.html", changes=since_good, since=since, history=summary(folder / "history"))
    shutil.rmtree(folder / "badges", ignore_errors=True)
    for _ in badge.write(run, folder / "badges"):
        pass


def cover(site: Path) -> None:
    """
    Write the cover, `index.html`, and a page with the last nights of all environments, `beside.html`, into a site.

    Both pages are made from the published files alone.
    """
    environments: list[dict[str, object]] = []
    runs: list[Run] = []
    for folder in sorted(each for each in site.iterdir() if (each / POINTER).is_file()):
        pointer = read_pointer(folder)
        environments.append({"name": folder.name, **msgspec.to_builtins(pointer)})
        if pointer.latest is not None:
            run = read(folder / pointer.latest.file)
            runs.append(replace(run, path=folder.name))
    comparison = site / "beside.html"
    if len(runs) > 1:
        write(runs, comparison)
    else:
        comparison.unlink(missing_ok=True)
    template = _templates().get_template("cover.html.jinja")
    page = template.render(environments=environments, has_comparison=len(runs) > 1)
    (site / "index.html").write_text(page, encoding="utf-8", newline="\n")
    # Without this file GitHub Pages leaves out files whose names begin with a dot.
    (site / ".nojekyll").touch()


def _templates() -> Environment:
    loader = PackageLoader("conformance.commands.nightly", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = lambda content: printable(str(content))
    return environment
