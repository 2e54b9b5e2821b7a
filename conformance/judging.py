"""What the answers of one cell amount to: every check its case is held to, each with what it needs of the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from conformance import checks, metamorphic
from conformance.adapters.registry import Implementation
from conformance.cell import Cell, checks_asked
from conformance.comparison import bits
from conformance.conduct import seen
from conformance.finding import CONFORMS, UNSUPPORTED, Evidence, Finding, Missing
from conformance.question import REPEATED, Question
from conformance.steps import Output, Transcript


def judge(cell: Cell, asked: Question, transcript: Transcript) -> Iterator[Finding]:
    """Yield the finding of every check the cell's case is held to."""
    evidence = Evidence(transcript=transcript)
    for name in checks_asked(cell.case):
        try:
            yield _JUDGES[name](cell, asked, evidence)
        except Missing as missing:
            yield missing.finding


def excused(finding: Finding, implementation: Implementation) -> Finding:
    """Return a finding whose evidence the model declined to give as unsupported, where the registry allows that."""
    reason = implementation.unanswerable.get(finding.check)
    if finding.declined is None or reason is None:
        return finding
    return replace(finding, outcome=UNSUPPORTED, message=reason)


def _output(cell: Cell, asked: Question, evidence: Evidence) -> Finding:
    found = checks.check_output(evidence, asked.outputs, asked.expected)
    told = seen((evidence.get("output", label, Output).y, ways) for label, ways in asked.conducts.items())
    margins = {} if found.margin is None else {"output": found.margin}
    same = {"bits": bits(evidence.get("output", REPEATED[0], Output).y)}
    return replace(found, facts={**found.facts, **({"conduct": told} if told else {}), "margins": margins, **same})


def _gradients(cell: Cell, asked: Question, evidence: Evidence) -> Finding:
    found = checks.check_gradients(evidence, asked.gradients, cell.case.dtype, cell.case.input_dtype)
    if not asked.unreduced:
        return found
    # What the registry declares is on the record, with whether this cell needed it.
    without = checks.check_gradients(evidence, asked.unreduced, cell.case.dtype, cell.case.input_dtype)
    declared = {
        **without.facts,
        "reduces_in_output_dtype": sorted(cell.implementation.reduces_in_output_dtype[cell.case.dtype]),
        "needed": found.outcome == CONFORMS != without.outcome,
    }
    return replace(found, facts={**found.facts, **declared})


def _weights_live(cell: Cell, asked: Question, evidence: Evidence) -> Finding:
    outputs = {label: each for label, each in asked.outputs.items() if label in asked.after}
    gradients = {label: each for label, each in asked.gradients.items() if label in asked.after}
    return checks.check_weights_live(evidence, outputs, gradients, cell.case.dtype, cell.case.input_dtype)


_JUDGES: Final[Mapping[str, Callable[[Cell, Question, Evidence], Finding]]] = {
    "output_shape": lambda cell, asked, evidence: checks.check_output_shape(
        cell.case, evidence, asked.inferred, asked.arrays
    ),
    "parameters": lambda cell, asked, evidence: checks.check_parameters(cell.case, evidence),
    "output_dtype": lambda cell, asked, evidence: checks.check_output_dtype(cell.case, evidence),
    "placement": lambda cell, asked, evidence: checks.check_placement(cell.device, evidence),
    "output": _output,
    "gradients": _gradients,
    "repeatable": lambda cell, asked, evidence: checks.check_repeatable(evidence, REPEATED, asked.outputs[REPEATED[0]]),
    "weights_live": _weights_live,
    "positions_independent": lambda cell, asked, evidence: checks.check_positions_independent(
        evidence, asked.alone, asked.kept, asked.outputs[REPEATED[0]]
    ),
    "positions_permuted": lambda cell, asked, evidence: metamorphic.check_rearranged(
        "positions_permuted", asked.relations, evidence, asked.outputs[REPEATED[0]]
    ),
    "axes_merged": lambda cell, asked, evidence: metamorphic.check_rearranged(
        "axes_merged", asked.relations, evidence, asked.outputs[REPEATED[0]]
    ),
    "weights_read_back": lambda cell, asked, evidence: metamorphic.check_weights_read_back(asked.relations, evidence),
    "linear_in_x": lambda cell, asked, evidence: metamorphic.check_linear_in_x(asked.relations, evidence),
    "memory_layouts": lambda cell, asked, evidence: metamorphic.check_memory_layouts(asked.relations, evidence),
    "refusal": lambda cell, asked, evidence: checks.check_refusal(evidence, cell.implementation.packages),
}
