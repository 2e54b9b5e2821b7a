"""Records of results files, made of plain data, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.results import CellRecord, Run, Writer, part_of, read
from conformance.results.record import FooterRecord, HeaderRecord, ImplementationRecord, MeasurementRecord


def cell_record(content: Mapping[str, Any] | CellRecord) -> CellRecord:
    """Return the record of a cell; what nobody says of it is that of one cell of torch that conforms."""
    named = {"case": "a", "implementation": "torch", "device": "cpu", "outcome": "conforms", "checks": []}
    return content if isinstance(content, CellRecord) else part_of({**named, **content}, CellRecord)


def run_of(
    cells: Sequence[Mapping[str, Any] | CellRecord], header: Mapping[str, Any], footer: Mapping[str, Any] | None
) -> Run:
    """Return a run that was never a file."""
    return Run(
        path="r",
        header=part_of(header, HeaderRecord),
        implementations=(),
        cells=tuple(map(cell_record, cells)),
        footer=None if footer is None else part_of(footer, FooterRecord),
    )


def written(
    path: Path,
    cells: Sequence[Mapping[str, Any] | CellRecord],
    *,
    header: Mapping[str, Any] | None = None,
    implementations: Iterable[Mapping[str, Any]] = (),
    complete: bool | None = True,
    seconds: float = 1.0,
    behaviours: Mapping[str, Mapping[str, int]] | None = None,
    measured: Iterable[Mapping[str, Any]] | None = None,
) -> Path:
    """Write a results file and return its path; without a footer where `complete` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = None if measured is None else [part_of(each, MeasurementRecord) for each in measured]
    with path.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        writer.header(part_of({"cells": len(cells), **(header or {})}, HeaderRecord))
        for each in implementations:
            writer.implementation(part_of(each, ImplementationRecord))
        for cell in cells:
            writer.cell(cell_record(cell))
        if complete is not None:
            writer.footer(complete=complete, seconds=seconds, behaviours=behaviours, measured=facts)
    return path


def read_back(path: Path, *cells: Mapping[str, Any] | CellRecord, **more: Any) -> Run:
    """Write a results file and read it."""
    return read(written(path, cells, **more))
