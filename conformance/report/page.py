"""
The page as a whole: everything the template is given, and the text that comes of it.

Every hole of the template is filled through `visible` and escaped, wherever its content comes from; nothing is ever
marked as safe.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.report import claims, columns, details, text, view
from conformance.report.numerics import numerics
from conformance.results import Run

#: How many kinds of failure are listed before the table; all cells are in the table and in the details.
LISTED: Final = 200
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
class Summary:
    """One column in numbers."""

    column: columns.Column
    counts: Mapping[view.Kind, int]
    margin: float | None
    seconds: float
    versions: tuple[str, ...]


def render(runs: Sequence[Run]) -> str:
    """Return the page for one or more results files; the same files give the same text."""
    return render_with(environment(), runs)


def write(runs: Sequence[Run], path: Path) -> None:
    """Write the page for `runs` to `path`, whole or not at all."""
    page = render(runs)
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
        loader=loader or PackageLoader("conformance.report", "."),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        fragment=text.fragment,
        anchor=text.anchor,
        short=text.short,
        duration=text.duration,
        commas=lambda count: f"{count:,}",
    )
    return made


def _finalize(content: Any) -> Any:
    """Make whatever fills a hole visible, and no longer than a page bears; only the output of macros is markup."""
    return content if isinstance(content, Markup) else text.head(text.visible(str(content)), 20_000)


def render_with(made: Environment, runs: Sequence[Run]) -> str:
    """Return the page as `made` fills it."""
    table = view.table(runs)
    counts = view.tally(table.cells, sum(map(view.missing, runs)))
    problems = details.problems(table)
    failures = details.failures(problems)
    warnings = (*itertools.chain(*map(claims.warnings, runs, columns.labels(runs))), *claims.oddities(table))
    complete = all(run.complete for run in runs)
    return made.get_template(_TEMPLATE).render(
        headline=claims.headline(counts, complete=complete, sound=not warnings),
        counts=counts,
        total=sum(counts.values()),
        summary=claims.summary_line(runs, table),
        warnings=warnings,
        origins=tuple(map(_origin, runs, columns.labels(runs))),
        table=table,
        summaries=tuple(_summary(runs, table, column) for column in table.columns),
        failures=failures[:LISTED],
        unlisted=sum(len(each.cells) for each in failures[LISTED:]),
        problems=problems,
        questions={row.case: _questions(row) for row in table.rows},
        divergences=details.divergences(table),
        numerics=numerics(runs),
        unasked=details.unasked(table),
        unasked_anchor=details.unasked_anchor,
        unanswered=details.unanswered(table),
    )


def _summary(runs: Sequence[Run], table: view.Table, column: columns.Column) -> Summary:
    cells = [cell for cell in table.cells if cell.column == column]
    seconds = (text.number(cell.record.get("seconds")) for cell in cells)
    said = itertools.chain.from_iterable(
        columns.implementations(runs[index], column.implementation) for index in sorted({cell.run for cell in cells})
    )
    return Summary(
        column=column,
        counts=view.tally(cells),
        margin=text.worst([cell.margin for cell in cells if cell.margin is not None and cell.kind.name == "conforms"]),
        seconds=sum(each for each in seconds if each is not None),
        versions=tuple(dict.fromkeys(" ".join(pair) for each in said for pair in text.pairs(each.get("versions")))),
    )


def _questions(row: view.Row) -> tuple[dict[str, Any], ...]:
    """Return what a case asks and why, once for each way in which the files have it."""
    keys = ("question", "row", "why", "source")
    found: dict[str, dict[str, Any]] = {}
    for cell in row.cells:
        said = {key: cell.record.get(key) for key in keys}
        found.setdefault(json.dumps(said, sort_keys=True, default=str), said)
    return tuple(
        {
            # What is null or false was not asked for.
            "question": tuple(pair for pair in text.pairs(said["question"]) if pair[1] not in ("null", "false")),
            "row": text.value(said["row"] or ""),
            "why": text.value(said["why"] or ""),
            "source": text.value(said["source"] or ""),
            "link": text.link(said["source"]),
        }
        for said in found.values()
    )


def _origin(run: Run, label: str) -> Origin:
    header, footer = run.header, run.footer or {}
    seconds = text.number(footer.get("seconds"))
    spent = sum(filter(None, (text.number(cell.get("seconds")) for cell in run.cells)))
    facts = [("started", text.value(header.get("started") or "unknown"))]
    if seconds is not None:
        facts.append(("took", text.duration(seconds)))
    facts += [("time in cells", text.duration(spent)), ("cells", f"{len(run.cells):,} of {view.announced(run):,}")]
    facts.append(("complete", "yes" if run.complete else "no"))
    known = ("type", "schema", "started", "distributions", "platform", "selection", "cells")
    return Origin(
        label=label,
        facts=(*facts, *text.pairs({key: each for key, each in header.items() if key not in known})),
        platform=tuple(text.pairs(header.get("platform"))),
        selection=tuple(text.pairs(header.get("selection"))),
        distributions=tuple(sorted(text.pairs(header.get("distributions")), key=lambda pair: pair[0].lower())),
        implementations=_implementations(run),
    )


def _implementations(run: Run) -> tuple[Implementation, ...]:
    names = sorted({columns.name(each, "implementation") for each in run.implementations}, key=text.natural)
    known = ("type", "implementation", "versions", "settings", "devices", "threads")
    return tuple(
        Implementation(
            name=name,
            devices=", ".join(map(text.value, devices)) if isinstance(devices := each.get("devices"), list) else "",
            threads=text.value(each.get("threads", "")),
            versions=tuple(text.pairs(each.get("versions"))),
            settings=tuple(text.pairs(each.get("settings"))),
            other=tuple(text.pairs({key: content for key, content in each.items() if key not in known})),
        )
        for name in names
        for each in columns.implementations(run, name)
    )
