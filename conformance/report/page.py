"""
The whole page: the variables of the template, and the rendered text.

Every value in the template passes `visible` and is escaped; none is marked as safe. The page's script receives its data
as JSON and inserts it as text.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.report import addresses, columns, groups, headline, matrix, scripts, text
from conformance.report.changes import changes as page_changes
from conformance.report.history import history as page_history
from conformance.report.numerics import numerics, spreads
from conformance.report.payload import payload, script_text
from conformance.results import Run, plain, without_collection
from conformance.results.behaviours import BehaviourCounts
from conformance.results.diff.comparison import Diff

if TYPE_CHECKING:
    from conformance.results.history.queries import Summary

#: The most failures in the list above the matrix, which has all cells.
LISTED: Final = 200
#: The most cells that an opened list of cells names.
NAMED: Final = 60
_TEMPLATE: Final = "page.html.jinja"


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """What a process reports about itself and its framework."""

    name: str
    devices: str
    threads: str
    versions: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    other: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The platform, time, selection and versions of one results file."""

    label: str
    facts: tuple[tuple[str, str], ...]
    platform: tuple[tuple[str, str], ...]
    selection: tuple[tuple[str, str], ...]
    distributions: tuple[tuple[str, str], ...]
    implementations: tuple[Implementation, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """The numbers of one column."""

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
    Return the page for one or more results files. The same files give the same text.

    - `runs`: the content of the results files.
    - `changes`: what changed since an earlier run.
    - `since`: the name of the earlier run.
    - `history`: a summary of the nights before.
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
    """Write the page for `runs` to `path`, whole or not at all. The other parameters are those of `render`."""
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
    """Return the environment of the template: it escapes all values, and an undefined variable is an error."""
    jinja = Environment(
        loader=loader or PackageLoader("conformance.report", "assets"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters.update(
        cell_place=addresses.cell_place,
        matrix_place=addresses.matrix_place,
        entry_place=addresses.entry_place,
        short=text.short,
        duration=text.duration,
        commas=lambda count: f"{count:,}",
    )
    return jinja


def _finalize(content: object) -> str:
    """Return a value of the template with hidden characters made visible, and cut. Only macros return markup."""
    return content if isinstance(content, Markup) else text.head(text.visible(str(content)), 20_000)


def render_with(
    jinja: Environment,
    runs: Sequence[Run],
    *,
    changes: Diff | None = None,
    since: str = "",
    history: Summary | None = None,
) -> str:
    """Return the page as `jinja` renders it."""
    table = matrix.table(runs)
    places = addresses.Places.of_table(table)
    past = None if history is None else page_history(history, places)
    behaviours, powerless = _behaviours(runs, table)
    divergences = groups.divergences(table, behaviours)
    data = payload(table, divergences)
    page = jinja.get_template(_TEMPLATE).render(
        **_claims(runs, table, behaviours, powerless),
        **_failures(table),
        policy=scripts.policy(),
        changes=None if changes is None else page_changes(changes, since, places),
        origins=tuple(map(_origin, runs, columns.labels(runs))),
        table=table,
        summaries=_summaries(runs, table),
        listed=NAMED,
        divergences=divergences,
        spreads=spreads(table),
        numerics=numerics(runs),
        history=past,
        unjudged=groups.unjudged(table),
        unsupported_checks=groups.unsupported_checks(table),
        omission=headline.omission_note(len(table.cells), len(data["details"])),
    )
    data["history"] = None if past is None else past.plot_data()
    return scripts.put(page, script_text(data))


def _claims(runs: Sequence[Run], table: matrix.Table, behaviours: groups.Counts, powerless: int) -> dict[str, object]:
    """Return the variables of the head of the page: headline, news, counts and warnings."""
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
    """Return the failures that the template lists, and the number of cells of the others."""
    failures = groups.failures(table)
    return {"failures": failures[:LISTED], "unlisted": sum(len(each.cells) for each in failures[LISTED:])}


def _behaviours(runs: Sequence[Run], table: matrix.Table) -> tuple[dict[str, dict[str, int]], int]:
    """
    Return the counts of each behaviour, in the form of a footer, and the number of powerless cells.

    They are those of the footers. For a run without a footer the cells of the table are counted.
    """
    totals: dict[str, Counter[str]] = {}
    powerless = 0
    for index, run in enumerate(runs):
        counted = BehaviourCounts()
        for cell in table.cells:
            if cell.run == index:
                counted.add(cell.record)
        powerless += counted.powerless
        of_footer = None if run.footer is None else run.footer.behaviours
        for name, counts in (counted.facts() if of_footer is None else of_footer).items():
            totals.setdefault(text.title(name), Counter()).update(counts)
    whole = {name: {key: counts[key] for key in ("cells", "seen", "gone")} for name, counts in totals.items()}
    return dict(sorted(whole.items())), powerless


def _summaries(runs: Sequence[Run], table: matrix.Table) -> tuple[ColumnSummary, ...]:
    cells_of: dict[columns.Column, list[matrix.Cell]] = {column: [] for column in table.columns}
    for cell in table.cells:
        cells_of[cell.column].append(cell)
    return tuple(_summary(runs, column, cells) for column, cells in cells_of.items())


def _summary(runs: Sequence[Run], column: columns.Column, cells: Sequence[matrix.Cell]) -> ColumnSummary:
    indices = sorted({cell.run for cell in cells})
    margins = [cell.margin for cell in cells if cell.margin is not None and cell.kind.name == "conforms"]
    records = [each for index in indices for each in columns.implementations(runs[index], column.implementation)]
    versions, settings = (
        tuple(dict.fromkeys(" ".join(pair) for each in listed for pair in text.pairs(each)))
        for listed in ([each.versions for each in records], [each.settings for each in records])
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
    facts.append(("time in cells", text.duration(matrix.seconds_in_cells(run))))
    facts.append(("cells", f"{len(run.cells):,} of {header.cells:,}"))
    facts.append(("complete", "yes" if run.complete else "no"))
    shown_elsewhere = ("type", "schema", "started", "distributions", "platform", "selection", "cells")
    others = {key: each for key, each in plain(header).items() if key not in shown_elsewhere or key in header.rest}
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
