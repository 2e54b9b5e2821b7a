"""
The headline of the page, its news and its warnings.

The headline claims no more than the files show: it says that a run was broken off, ran nothing or contradicts itself,
and it calls no cell conforming that was not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.report import matrix, text
from conformance.results import OUTCOMES, Run


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One sentence, and its tone: `good`, `bad`, or `open` where something is unknown."""

    tone: str
    sentence: str


def headline(counts: Mapping[matrix.Kind, int], *, complete: bool, sound: bool, gone: int = 0) -> Headline:
    """
    Return the headline for cells with these outcomes.

    - `counts`: the number of cells of each kind.
    - `complete`: whether no run was broken off.
    - `sound`: whether the files do not contradict themselves.
    - `gone`: the number of declared behaviours that are gone.
    """
    of_cells = _headline(counts, complete=complete, sound=sound)
    if not gone:
        return of_cells
    behaviours = "1 declared behaviour is gone" if gone == 1 else f"{gone:,} declared behaviours are gone"
    return Headline(tone=of_cells.tone, sentence=f"{of_cells.sentence.removesuffix('.')}; {behaviours}.")


def news(
    counts: Mapping[matrix.Kind, int], behaviours: Mapping[str, Mapping[str, int]], powerless: int
) -> tuple[str, ...]:
    """
    Return a sentence for each kind of news: undeclared failures, and declared behaviours that are gone.

    - `counts`: the number of cells of each kind.
    - `behaviours`: the counts of each behaviour, by its id.
    - `powerless`: the number of diverging cells whose bounds are as wide as the answer.
    """
    failing = sum(count for kind, count in counts.items() if kind.fails)
    gone = [
        f"{name} (seen in {_count(each['seen'], 'cell')}, gone from {each['gone']:,})"
        for name, each in behaviours.items()
        if each["gone"]
    ]
    sentences = []
    if failing:
        cells = "1 cell fails" if failing == 1 else f"{failing:,} cells fail"
        sentences.append(f"New: {cells}, neither as the rule says nor as declared.")
    if gone:
        sentences.append(f"Gone: {_count(len(gone), 'declared behaviour')}: {', '.join(gone)}.")
    if powerless:
        rests = "1 diverging cell rests" if powerless == 1 else f"{powerless:,} diverging cells rest"
        sentences.append(f"Without power: {rests} on bounds as wide as the answer.")
    return tuple(sentences)


def _headline(counts: Mapping[matrix.Kind, int], *, complete: bool, sound: bool) -> Headline:
    total = sum(counts.values())
    failing = sum(count for kind, count in counts.items() if kind.fails)
    conforming, diverging = (counts[matrix.KINDS[each]] for each in ("conforms", "diverges"))
    judged = failing + conforming + diverging
    cells = "1 cell" if total == 1 else f"{total:,} cells"
    if total == 0:
        return Headline(tone="open", sentence="Nothing ran: there is no cell in these results.")
    if failing:
        broken = "" if complete else ", and the run was broken off"
        return Headline(tone="bad", sentence=f"{failing:,} of {cells} {'fails' if failing == 1 else 'fail'}{broken}.")
    if judged == 0:
        return Headline(tone="open", sentence=f"Nothing was judged, of {cells}.")
    if not complete:
        sentence = f"Broken off: nothing failed so far, with {judged:,} of {cells} judged."
        return Headline(tone="open", sentence=sentence)
    if not sound:
        return Headline(
            tone="open", sentence="Not to be relied on: the results contradict themselves, as listed below."
        )
    if total == 1 == judged:
        return Headline(tone="good", sentence=f"The one cell {'diverges as known' if diverging else 'conforms'}.")
    known = " or diverge as known" if diverging else ""
    if judged == total:
        return Headline(tone="good", sentence=f"All {cells} conform{known}.")
    sentence = f"Nothing failed: {judged:,} of {cells} were judged, and conform{known}; {total - judged:,} were not."
    return Headline(tone="open", sentence=sentence)


def summary_line(runs: Sequence[Run], table: matrix.Table) -> tuple[str, ...]:
    """Return the parts of the line below the headline: what ran, when, for how long, and on which platform."""
    implementations = len({column.implementation for column in table.columns})
    devices = len({column.device for column in table.columns})
    parts = [_count(len(table.rows), "case"), _count(implementations, "implementation"), _count(devices, "device")]
    if len(runs) != 1:
        return (*parts, _count(len(runs), "results file"))
    (run,) = runs
    fields = dict(text.pairs(run.header.platform))
    system, machine = fields.get("system", ""), fields.get("machine", "")
    platform = [each for each in (system, machine) if each and (each is system or each not in system)]
    parts += [text.value(run.header.started)] if run.header.started else []
    duration = text.duration(matrix.seconds_in_cells(run))
    parts.append(f"{duration} in cells" if run.footer is None else f"took {text.duration(run.footer.seconds)}")
    return (*parts, *([text.head(" ".join(platform), 120)] if platform else []))


def omission_note(cells: int, detailed: int) -> str:
    """Return a sentence on what the page leaves out of the results."""
    if detailed == cells:
        return "This page has all details of every cell of the results files; a cut log or long value is marked as cut."
    return (
        f"For {cells - detailed:,} of {cells:,} cells this page has only the outcome, the margin and the outcomes of"
        " the checks: more would make it too large. Red and diverging cells get their details first. The results files"
        " have everything."
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def warnings(run: Run, label: str) -> list[str]:
    """Return warnings that a results file is incomplete or contradicts itself."""
    found = []
    announced, lines = run.header.cells, len(run.cells)
    if run.footer is None:
        found.append(f"{label} was broken off: it has no footer.")
    elif not run.complete:
        found.append(f"{label} was broken off: its footer says that it is not complete.")
    if announced > lines:
        found.append(f"{label} announces {announced:,} cells; {announced - lines:,} of them have no line.")
    if announced < lines:
        found.append(f"{label} has {lines:,} cells but announces {announced:,}.")
    by_outcome = {kind.name: count for kind, count in matrix.tally(map(matrix.kind, run.cells)).items()}
    if run.footer is not None and {**dict.fromkeys(OUTCOMES, 0), **run.footer.counts} != by_outcome:
        counted, lines_have = text.value(run.footer.counts), text.value(by_outcome)
        found.append(f"{label} contradicts itself: its footer counts {counted}, its lines {lines_have}.")
    return found


def oddities(table: matrix.Table) -> list[str]:
    """Return warnings about contradictory cells."""
    unknown = sum(1 for cell in table.cells if cell.kind is matrix.UNKNOWN)
    copies = sum(1 for cell in table.cells if cell.copy)
    contradicting = sum(1 for cell in table.cells if cell.contradicts)
    found = {
        "of an outcome that this version of the report does not know": unknown,
        "beyond the first line for the same cell: all lines are shown and counted": copies,
        "with a better outcome than one of the checks": contradicting,
    }
    return [f"{_count(count, 'cell')} {what}." for what, count in found.items() if count]
