"""
The page as a whole: everything the template is given, and the text that comes of it.

Every hole of the template is filled through `visible` and escaped, wherever its content comes from; nothing is ever
marked as safe. What the page's script shows it gets as JSON, and puts into the page as text alone.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.report import addresses, columns, groups, headline, matrix, scripts, text
from conformance.report.changes import changes as changed
from conformance.report.history import history as nights
from conformance.report.numerics import numerics, spreads
from conformance.report.payload import payload, script_text
from conformance.results import Run, plain, without_collection
from conformance.results.behaviours import BehaviourCounts
from conformance.results.diff.comparison import Diff

if TYPE_CHECKING:
    from conformance.results.history.queries import Summary

#: How many ways to fail are listed before the matrix, which has all cells.
LISTED: Final = 200
#: How many cells are named where a list of them is opened.
NAMED: Final = 60
_TEMPLATE: Final = "page.html.jinja"


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """What a process said of itself and of its framework."""

    name: str
    devices: str
    threads: str
    versions: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    other: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where, when and with what one results file was made."""

    label: str
    facts: tuple[tuple[str, str], ...]
    platform: tuple[tuple[str, str], ...]
    selection: tuple[tuple[str, str], ...]
    distributions: tuple[tuple[str, str], ...]
    implementations: tuple[Implementation, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """One column in numbers."""

    column: columns.Column
    counts: Mapping[matrix.Kind, int]
    margin: float | None
    seconds: float
    versions: tuple[str, ...]
    settings: tuple[str, ...]


def render(
    runs: Sequence[Run],
    *,
    changes: Diff | None = None,
    since: str = "",
    history: Summary | None = None,
) -> str:
    """
    Return the page for one or more results files; the same files give the same text.

    `changes` is what changed from an earlier run to this one, `since` says which that was; `history` is a summary of
    the nights before.
    """
    return render_with(environment(), runs, changes=changes, since=since, history=history)


def write(
    runs: Sequence[Run],
    path: Path,
    *,
    changes: Diff | None = None,
    since: str = "",
    history: Summary | None = None,
) -> None:
    """Write the page for `runs` to `path`, whole or not at all; for the rest see `render`."""
    with without_collection():
        page = render(runs, changes=changes, since=since, history=history)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(page, encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def environment(loader: BaseLoader | None = None) -> Environment:
    """Return what fills the template: everything escaped and made visible, everything undefined an error."""
    made = Environment(
        loader=loader or PackageLoader("conformance.report", "assets"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        cell_place=addresses.cell_place,
        matrix_place=addresses.matrix_place,
        entry_place=addresses.entry_place,
        short=text.short,
        duration=text.duration,
        commas=lambda count: f"{count:,}",
    )
    return made


def _finalize(content: Any) -> Any:
    """Make whatever fills a hole visible, and no longer than a page bears; only the output of macros is markup."""
    return content if isinstance(content, Markup) else text.head(text.visible(str(content)), 20_000)


def render_with(
    made: Environment,
    runs: Sequence[Run],
    *,
    changes: Diff | None = None,
    since: str = "",
    history: Summary | None = None,
) -> str:
    """Return the page as `made` fills it."""
    table = matrix.table(runs)
    known = addresses.Places.among(table)
    past = None if history is None else nights(history, known)
    behaviours, powerless = _behaviours(runs, table)
    divergences = groups.divergences(table, behaviours)
    data = payload(table, divergences)
    page = made.get_template(_TEMPLATE).render(
        **_claims(runs, table, behaviours, powerless),
        **_failures(table),
        policy=scripts.policy(),
        changes=None if changes is None else changed(changes, since, known),
        origins=tuple(map(_origin, runs, columns.labels(runs))),
        table=table,
        summaries=_summaries(runs, table),
        listed=NAMED,
        divergences=divergences,
        spreads=spreads(table),
        numerics=numerics(runs),
        history=past,
        unasked=groups.unasked(table),
        unanswered=groups.unanswered(table),
        omitted=headline.omitted(len(table.cells), len(data["details"])),
    )
    data["history"] = None if past is None else past.plotted()
    return scripts.put(page, script_text(data))


def _claims(runs: Sequence[Run], table: matrix.Table, behaviours: groups.Counts, powerless: int) -> dict[str, object]:
    """Return what the template says of the whole: headline, news, counts and warnings."""
    counts = matrix.tally((cell.kind for cell in table.cells), sum(map(matrix.missing, runs)))
    warnings = (*itertools.chain(*map(headline.warnings, runs, columns.labels(runs))), *headline.oddities(table))
    complete = all(run.complete for run in runs)
    gone = sum(1 for each in behaviours.values() if each["gone"])
    return {
        "headline": headline.headline(counts, complete=complete, sound=not warnings, gone=gone),
        "news": headline.news(counts, behaviours, powerless),
        "counts": counts,
        "total": sum(counts.values()),
        "summary": headline.summary_line(runs, table),
        "warnings": warnings,
    }


def _failures(table: matrix.Table) -> dict[str, object]:
    """Return the failures that the template lists, and how many cells the others have."""
    found = groups.failures(table)
    return {"failures": found[:LISTED], "unlisted": sum(len(each.cells) for each in found[LISTED:])}


def _behaviours(runs: Sequence[Run], table: matrix.Table) -> tuple[dict[str, dict[str, int]], int]:
    """
    Return by behaviour how many cells it covers, how many need it and in how many it is gone; and powerless cells.

    A footer counts all cells of its run; without one, the cells that the page holds are counted.
    """
    found: dict[str, Counter[str]] = {}
    powerless = 0
    for index, run in enumerate(runs):
        counted = BehaviourCounts()
        for cell in table.cells:
            if cell.run == index:
                counted.add(cell.record)
        powerless += counted.powerless
        said = None if run.footer is None else run.footer.behaviours
        for name, counts in (counted.facts() if said is None else said).items():
            found.setdefault(text.title(name), Counter()).update(counts)
    whole = {name: {key: counts[key] for key in ("cells", "seen", "gone")} for name, counts in found.items()}
    return dict(sorted(whole.items())), powerless


def _summaries(runs: Sequence[Run], table: matrix.Table) -> tuple[ColumnSummary, ...]:
    found: dict[columns.Column, list[matrix.Cell]] = {column: [] for column in table.columns}
    for cell in table.cells:
        found[cell.column].append(cell)
    return tuple(_summary(runs, column, cells) for column, cells in found.items())


def _summary(runs: Sequence[Run], column: columns.Column, cells: Sequence[matrix.Cell]) -> ColumnSummary:
    indices = sorted({cell.run for cell in cells})
    margins = [cell.margin for cell in cells if cell.margin is not None and cell.kind.name == "conforms"]
    said = [each for index in indices for each in columns.implementations(runs[index], column.implementation)]
    versions, settings = (
        tuple(dict.fromkeys(" ".join(pair) for each in listed for pair in text.pairs(each)))
        for listed in ([each.versions for each in said], [each.settings for each in said])
    )
    return ColumnSummary(
        column=column,
        counts=matrix.tally(cell.kind for cell in cells),
        margin=text.worst(margins),
        seconds=sum(cell.record.seconds for cell in cells),
        versions=versions,
        settings=settings,
    )


def _origin(run: Run, label: str) -> Origin:
    header = run.header
    facts = [("started", text.value(header.started or "unknown"))]
    if run.footer is not None:
        facts.append(("took", text.duration(run.footer.seconds)))
    facts.append(("time in cells", text.duration(matrix.spent(run))))
    facts.append(("cells", f"{len(run.cells):,} of {header.cells:,}"))
    facts.append(("complete", "yes" if run.complete else "no"))
    known = ("type", "schema", "started", "distributions", "platform", "selection", "cells")
    others = {key: each for key, each in plain(header).items() if key not in known or key in header.rest}
    return Origin(
        label=label,
        facts=(*facts, *text.pairs(others)),
        platform=tuple(text.pairs(header.platform)),
        selection=tuple(text.pairs(plain(header.selection))),
        distributions=tuple(sorted(text.pairs(header.distributions), key=lambda pair: pair[0].lower())),
        implementations=_implementations(run),
    )


def _implementations(run: Run) -> tuple[Implementation, ...]:
    names = {columns.name(each.implementation, "implementation") for each in run.implementations}
    return tuple(
        Implementation(
            name=name,
            devices=", ".join(map(text.value, each.devices)),
            threads="" if each.threads is None else str(each.threads),
            versions=tuple(text.pairs(each.versions)),
            settings=tuple(text.pairs(each.settings)),
            other=tuple(text.pairs({**({"host": each.host} if each.host else {}), **each.rest})),
        )
        for name in sorted(names, key=text.natural)
        for each in columns.implementations(run, name)
    )
