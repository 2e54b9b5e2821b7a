"""Tables written down for a test: the cases of rows, and the faults of a file, in the current folder."""

from __future__ import annotations

from pathlib import Path

from conformance.table.case import Case
from conformance.table.loader import lint, load


def table_of(*rows: str, head: str = "") -> str:
    """Return a table of rows given as the lines of their fields: the first field is on line 3, column 5."""
    indented = ["  - " + row.replace("\n", "\n    ") + "\n" for row in rows]
    return f"description: A table for a test.\n{head}rows:\n{''.join(indented)}"


def cases_of(*rows: str, head: str = "") -> list[Case]:
    Path("t.yaml").write_text(table_of(*rows, head=head), encoding="utf-8")
    return list(load([Path("t.yaml")]).cases)


def faults_of(content: str | bytes) -> list[str]:
    Path("t.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    return [str(fault).removeprefix("t.yaml:") for fault in lint([Path("t.yaml")])]


def ids(cases: list[Case]) -> list[str]:
    return [case.id for case in cases]
