"""
What the page claims: its headline, and what it warns of.

No more is claimed than the files show. A run that was broken off, did not run or contradicts itself is said to be so,
and nothing is called conforming that was not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.report import matrix, text
from conformance.results import OUTCOMES, Run


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One sentence, and how it is to be taken: `good`, `bad`, or `open` where something is not known."""

    tone: str
    sentence: str


def headline(counts: Mapping[matrix.Kind, int], *, complete: bool, sound: bool, gone: int = 0) -> Headline:
    """
    Return what may be said of cells with these outcomes, and no more.

    - `complete`: false where a run was broken off.
    - `sound`: false where the files contradict themselves.
    - `gone`: how many declared behaviours are gone.
    """
    said = _headline(counts, complete=complete, sound=sound)
    if not gone:
        return said
    behaviours = "1 declared behaviour is gone" if gone == 1 else f"{gone:,} declared behaviours are gone"
    return Headline(tone=said.tone, sentence=f"{said.sentence.removesuffix('.')}; {behaviours}.")


def news(
    counts: Mapping[matrix.Kind, int], behaviours: Mapping[str, Mapping[str, int]], powerless: int
) -> tuple[str, ...]:
    """
    Return what is new, a sentence each: answers that nobody declared, and declared behaviours that are gone.

    `powerless` says how many diverging cells rest on bounds as wide as the answer.
    """
    failing = sum(count for kind, count in counts.items() if kind.fails)
    gone = [
        f"{name} (seen in {_count(each['seen'], 'cell')}, gone from {each['gone']:,})"
        for name, each in behaviours.items()
        if each["gone"]
    ]
    found = []
    if failing:
        cells = "1 cell fails" if failing == 1 else f"{failing:,} cells fail"
        found.append(f"New: {cells}, neither as the rule says nor as declared.")
    if gone:
        found.append(f"Gone: {_count(len(gone), 'declared behaviour')}: {', '.join(gone)}.")
    if powerless:
        rests = "1 diverging cell rests" if powerless == 1 else f"{powerless:,} diverging cells rest"
        found.append(f"Without power: {rests} on bounds as wide as the answer.")
    return tuple(found)


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
    """Return what was asked, when, for how long, of which versions, on what: in a line below the headline."""
    implementations = len({column.implementation for column in table.columns})
    devices = len({column.device for column in table.columns})
    found = [_count(len(table.rows), "case"), _count(implementations, "implementation"), _count(devices, "device")]
    if len(runs) != 1:
        return (*found, _count(len(runs), "results file"))
    (run,) = runs
    known = dict(text.pairs(run.header.platform))
    system, machine = known.get("system", ""), known.get("machine", "")
    platform = [each for each in (system, machine) if each and (each is system or each not in system)]
    found += [text.value(run.header.started)] if run.header.started else []
    spent = text.duration(matrix.spent(run))
    found.append(f"{spent} in cells" if run.footer is None else f"took {text.duration(run.footer.seconds)}")
    return (*found, *([text.head(" ".join(platform), 120)] if platform else []))


def omitted(cells: int, detailed: int) -> str:
    """Return what of the results the page leaves out."""
    if detailed == cells:
        return (
            "This page shows what the results files say of every cell; logs and long values are cut where it says so."
        )
    return (
        f"Of {cells - detailed:,} of {cells:,} cells this page has the outcome, the margin and the outcomes of the"
        " checks alone, as it would be too large with more; red and diverging cells come first. The results files have"
        " all."
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def warnings(run: Run, label: str) -> list[str]:
    """Return what makes a results file less than a whole account of a run."""
    found = []
    announced, lines = run.header.cells, len(run.cells)
    if run.footer is None:
        found.append(f"{label} was broken off: it has no footer.")
    elif not run.complete:
        found.append(f"{label} was broken off: its footer says that it is not complete.")
    if announced > lines:
        found.append(f"{label} set out to do {announced:,} cells; {announced - lines:,} of them never got a line.")
    if announced < lines:
        found.append(f"{label} holds {lines:,} cells but set out to do {announced:,}.")
    held = {kind.name: count for kind, count in matrix.tally(map(matrix.kind, run.cells)).items()}
    if run.footer is not None and {**dict.fromkeys(OUTCOMES, 0), **run.footer.counts} != held:
        counted, lines_have = text.value(run.footer.counts), text.value(held)
        found.append(f"{label} contradicts itself: its footer counts {counted}, its lines {lines_have}.")
    return found


def oddities(table: matrix.Table) -> list[str]:
    """Return what cannot be right in the cells themselves."""
    unknown = sum(1 for cell in table.cells if cell.kind is matrix.UNKNOWN)
    copies = sum(1 for cell in table.cells if cell.copy)
    contradicting = sum(1 for cell in table.cells if cell.contradicts)
    found = {
        "of an outcome that this version of the report does not know": unknown,
        "beyond the first line for the same cell: all lines are shown and counted": copies,
        "with a better outcome than one of the checks": contradicting,
    }
    return [f"{_count(count, 'cell')} {what}." for what, count in found.items() if count]
