"""
Writes `docs/measured.md` from results files: how each implementation computes where several ways are right.

The facts are those in the footers of the runs (`conformance.results.measurements`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from conformance.report.numerics import Numerics, numerics
from conformance.results import Run, read

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "measured.md"


def document(runs: Sequence[Run]) -> str:
    """Return the text of the document: a table for each dtype, with a row for each implementation."""
    lines = [
        "# What implementations do",
        "",
        "Written by `make found`, not by hand. Where several ways of computing are right, these tables have the way",
        "of each implementation in a run of all rows on the CPU. The page of a run has the evidence, under Numerics.",
        "[numerics.md](numerics.md#measurements-without-a-verdict) describes how the suite distinguishes the ways.",
        "",
    ]
    lines += [f"- {line}" for line in _versions(runs)]
    for each in numerics(runs):
        lines += ["", f"## {each.dtype}", "", *_table(each)]
    return "\n".join(lines) + "\n"


def _versions(runs: Sequence[Run]) -> Iterator[str]:
    versions = (pair for run in runs for each in run.implementations for pair in (each.versions or {}).items())
    yield ", ".join(sorted({f"{name} {version}" for name, version in versions}))


def _table(found: Numerics) -> Iterator[str]:
    abouts = [about for about, _ in found.rows]
    yield f"| | {' | '.join(abouts)} |"
    yield "|" + "---|" * (len(abouts) + 1)
    for index, column in enumerate(found.columns):
        facts = [facts[index] for _, facts in found.rows]
        yield f"| {column} | {' | '.join('' if each is None else each.finding for each in facts)} |"


def main() -> None:
    """Write the document from results files."""
    DOCUMENT.write_text(document([read(Path(each)) for each in sys.argv[1:]]), encoding="utf-8")


if __name__ == "__main__":
    main()
