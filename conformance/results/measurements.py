"""
What each implementation does, gathered from the cells of a run: facts with their evidence, not verdicts.

How a bias is added, in what its sums are taken, whether denormals are flushed, whether a sample's bits depend on the
batch it is in. Cells are taken one by one and forgotten.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from conformance.results.record import CellRecord, MeasurementRecord, QuestionRecord

#: Implementation, device and dtype.
Subject = tuple[str, str, str]

#: The format in which sums of a dtype are expected to be taken.
_ACCUMULATOR: Final = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}
#: The share of the outputs that tell which one way must explain to be called what an implementation does.
_CLEAR: Final = 0.9
_DENORMALS: Final = ("x denormal", "kernel denormal", "products denormal")


@dataclass
class _Sum:
    """The largest margin seen of one kind of sum under the bound of the accumulator, and the case it was seen in."""

    margin: float = 0.0
    case: str = ""
    cells: int = 0


@dataclass
class Measured:
    """Gathers the facts of a run, cell by cell."""

    _ways: dict[Subject, dict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(dict))
    _bitwise: dict[Subject, dict[str, Counter[bool]]] = field(default_factory=lambda: defaultdict(dict))
    _sums: dict[Subject, dict[str, _Sum]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, record: CellRecord) -> None:
        """Take what one cell shows."""
        question = record.question
        if question is None or question.dtype not in _ACCUMULATOR or question.error:
            return
        subject = (record.implementation, record.device, question.dtype)
        for check in record.checks:
            if check.facts is None:
                continue
            for conduct, counted in check.facts.conduct.items():
                self._ways[subject].setdefault(conduct, Counter()).update(counted)
            if check.facts.bitwise is not None and question.lane == "uniform":
                self._bitwise[subject].setdefault(check.check, Counter())[check.facts.bitwise] += 1
            if question.lane == "uniform" and _is_one_sum(question):
                for name, margin in (check.facts.margins or {}).items():
                    self._sum(subject, name, float(margin), record.case)

    def _sum(self, subject: Subject, name: str, margin: float, case: str) -> None:
        found = self._sums[subject].setdefault(name, _Sum())
        found.cells += 1
        if margin >= found.margin:
            found.margin, found.case = margin, case

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
        """Yield what a fact is about, what was found, and by what."""
        accumulator = _ACCUMULATOR[subject[2]]
        for name, each in sorted(self._sums[subject].items()):
            finding = f"in {accumulator} or better" if each.margin <= 1.0 else f"in less than {accumulator}"
            yield f"sums of {name}", finding, f"margin up to {each.margin:.3g} in {each.cells} cells, at {each.case}"
        for conduct, counted in sorted(self._ways[subject].items()):
            tell = counted["outputs that tell"]
            ways = {way: count for way, count in counted.items() if way != "outputs that tell"}
            clear = [way for way, count in ways.items() if count >= _CLEAR * tell]
            shares = ", ".join(f"{count} {way}" for way, count in ways.items())
            yield (
                conduct,
                clear[0] if len(clear) == 1 else "now this, now that",
                f"of {tell} outputs that tell: {shares}",
            )
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
    """Return whether outputs and gradients are sums of products of numbers that are given: one linear layer's."""
    return question.activation == ["linear"] and question.input_dtype is None
