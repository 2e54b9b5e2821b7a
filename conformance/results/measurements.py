"""
Facts about the arithmetic of each implementation, each with its evidence, from the cells of a run. No verdicts.

The facts are: how a bias is added, the format of the accumulator, whether denormals are flushed, and whether the bits
of a sample depend on its batch. Cells are added one by one and are not kept in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from conformance.results.record import CellRecord, MeasurementRecord, QuestionRecord

#: Implementation, device and dtype.
Subject = tuple[str, str, str]

#: dtype of the operands -> the expected format of the accumulator.
_ACCUMULATOR: Final = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}
#: The count of all outputs that distinguish the ways of rounding, as `conformance.checks` names it.
_DISTINGUISHING: Final = "outputs that tell"
#: The share of those outputs that one way must explain to be reported as what an implementation does.
_CLEAR: Final = 0.9


@dataclass
class _Sum:
    """The largest margin of one kind of sum under the bound of the accumulator, and the case that has it."""

    margin: float = 0.0
    case: str = ""
    cells: int = 0


@dataclass
class Measurements:
    """Gathers the facts of a run, cell by cell."""

    _ways: dict[Subject, dict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(dict))
    _bitwise: dict[Subject, dict[str, Counter[bool]]] = field(default_factory=lambda: defaultdict(dict))
    _sums: dict[Subject, dict[str, _Sum]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, record: CellRecord) -> None:
        """Add the facts of one cell."""
        question = record.question
        if question is None or question.dtype not in _ACCUMULATOR or question.error:
            return
        subject = (record.implementation, record.device, question.dtype)
        for check in record.checks:
            if check.facts is None:
                continue
            for operation, counted in check.facts.conduct.items():
                self._ways[subject].setdefault(operation, Counter()).update(counted)
            if check.facts.bitwise is not None and question.lane == "uniform":
                self._bitwise[subject].setdefault(check.check, Counter())[check.facts.bitwise] += 1
            if question.lane == "uniform" and _is_one_sum(question):
                for name, margin in (check.facts.margins or {}).items():
                    self._sum(subject, name, float(margin), record.case)

    def _sum(self, subject: Subject, name: str, margin: float, case: str) -> None:
        largest = self._sums[subject].setdefault(name, _Sum())
        largest.cells += 1
        if margin >= largest.margin:
            largest.margin, largest.case = margin, case

    def facts(self) -> list[MeasurementRecord]:
        """Return each fact, sorted by implementation, device and dtype."""
        subjects = sorted({*self._ways, *self._bitwise, *self._sums})
        return [
            MeasurementRecord(
                implementation=implementation,
                device=device,
                dtype=dtype,
                about=about,
                finding=finding,
                evidence=evidence,
            )
            for implementation, device, dtype in subjects
            for about, finding, evidence in self._of((implementation, device, dtype))
        ]

    def _of(self, subject: Subject) -> Iterator[tuple[str, str, str]]:
        """Yield the topic, the finding and the evidence of each fact."""
        accumulator = _ACCUMULATOR[subject[2]]
        for name, each in sorted(self._sums[subject].items()):
            finding = f"in {accumulator} or better" if each.margin <= 1.0 else f"in less than {accumulator}"
            yield f"sums of {name}", finding, f"margin up to {each.margin:.3g} in {each.cells} cells, at {each.case}"
        for operation, counted in sorted(self._ways[subject].items()):
            total = counted[_DISTINGUISHING]
            ways = {way: count for way, count in counted.items() if way != _DISTINGUISHING}
            clear = [way for way, count in ways.items() if count >= _CLEAR * total]
            shares = ", ".join(f"{count} {way}" for way, count in ways.items())
            finding = clear[0] if len(clear) == 1 else "varies"
            yield operation, finding, f"of {total} outputs that distinguish the ways: {shares}"
        for check, about in (
            ("positions_independent", "bits in a batch and alone"),
            ("repeatable", "bits of repeated calls"),
        ):
            counts = self._bitwise[subject].get(check)
            if counts is not None:
                finding = (
                    "the same" if not counts[False] else "different" if not counts[True] else "the same in some cells"
                )
                yield about, finding, f"the same in {counts[True]} of {counts.total()} cells"


def _is_one_sum(question: QuestionRecord) -> bool:
    """Return whether outputs and gradients are plain sums of products of the operands: one linear layer, no cast."""
    return question.activation == ["linear"] and question.input_dtype is None
