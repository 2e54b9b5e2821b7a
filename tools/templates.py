"""
Holds that scripts build the layer they are about: each is told the exact answer as a finding, and has to get it.

A template that forgot a bias, transposed a kernel or took another activation would show a fault that is its own. For
every implementation scripts are written for outputs, gradients and new weights of a few cases, and for the output of
every activation; what they print is held to the reference, within its bound.

`python -m tools.templates [GLOB]` prints the counts by implementation; exit code 1 where a script is wrong.
"""

from __future__ import annotations

import fnmatch
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from conformance.adapters.registry import Implementation, registered
from conformance.checks.cell import checks_asked, concerns
from conformance.checks.question import MAIN, GradientProbe, OutputProbe, Question
from conformance.checks.references import question
from conformance.reference.enclosure import Enclosure
from conformance.results import CellRecord, CheckRecord
from conformance.run.reproduce.symptom import symptom
from conformance.run.reproduce.writer import script
from conformance.table.case import Case, Layer
from tools.reproductions import Task, run

TWO = (Layer(units=4, activation="relu"), Layer(units=3))


def cases(implementation: Implementation) -> Iterator[Case]:
    """Yield the cases scripts are written for: one for each thing that a template has a word for."""
    rank = min(implementation.ranks or (1,))
    shape = {1: (5,), 2: (2, 5), 3: (2, 3, 5)}[rank]
    two = Case(input_shape=shape, layers=TWO)
    yield two
    yield replace(two, lane="exact")
    yield replace(two, layers=(Layer(units=4, use_bias=False), Layer(units=3)))
    yield replace(two, dtype="float64", layout="strided")
    yield replace(two, dtype="bfloat16", layers=(Layer(units=3),))
    if implementation.ranks is None:
        yield replace(two, batch=(2, 3))
    # Outputs of 8 features and more, so that those of softmax differ.
    known = implementation.activations
    for name in sorted(_ALL if known is None else known):
        yield replace(two, layers=(Layer(units=8, activation=name),))


_ALL = (
    *("linear", "relu", "sigmoid", "softmax", "tanh", "leaky_relu", "elu", "selu", "softplus", "softsign", "silu"),
    *("gelu", "gelu_tanh", "hard_sigmoid", "log_softmax", "exponential"),
)


def tasks(implementation: Implementation) -> Iterator[Task]:
    """Yield scripts that claim to have found the exact answer, one for each kind of number there is."""
    for case in cases(implementation):
        if not concerns(case, implementation):
            continue
        asked = question(case, "cpu")
        for check, where, enclosure in _numbers(case, asked, implementation):
            if check not in checks_asked(case) or not enclosure.exact.size:
                continue
            index = tuple(int(each) for each in np.unravel_index(enclosure.exact.size - 2, enclosure.exact.shape))
            number = float(enclosure.exact[index])
            found = CheckRecord(
                check=check,
                outcome="violates",
                message="claimed",
                where=where,
                worst=list(index),
                got=number,
                exact=number,
                allowed=float(enclosure.allowed[index]),
            )
            record = CellRecord(
                case=case.id, implementation=implementation.name, device="cpu", outcome="violates", checks=[found]
            )
            text = script(record, asked, case=case, implementation=implementation)
            shown = symptom(record, asked)
            yield Task(name=f"{implementation.name}/{case.id}/{where}", text=text, symptom=shown, record=record)


def _numbers(case: Case, asked: Question, implementation: Implementation) -> Iterator[tuple[str, str, Enclosure]]:
    """Yield a check, what it compares, and what that is held to."""
    assert asked.main is not None
    yield "output", MAIN, asked.main.y
    if len(case.layers) == 1 and case.layers[0].activation not in ("linear", "exponential"):
        return
    after = next(each for each in asked.of(OutputProbe) if each.after_new_weights)
    assert after.reference is not None
    yield "weights_live", after.label, after.reference.y
    if "gradients" in implementation.unanswerable:
        return
    reference = asked.of(GradientProbe)[0].reference
    assert reference is not None
    yield "gradients", "gradients: dx", reference.dx
    for number, pair in enumerate(reference.layers):
        for name, each in zip(("dW", "db"), pair, strict=True):
            if each is not None:
                yield "gradients", f"gradients: {name} of layer {number}", each


def fault(task: Task, told: dict[str, str]) -> str | None:
    """Return how a script gets something else than the exact answer, None where it gets that."""
    if "There is no script for" in task.text:
        return None
    if told.get("ended") or told["raised"]:
        return told.get("ended") or told["raised"]
    (found,) = task.record.checks
    assert found.allowed is not None
    assert found.exact is not None
    bound, exact = float(found.allowed), float(found.exact)
    got = float(told["printed"].rpartition("\ngot ")[2])
    # Sums over positions may be taken in the output's dtype: what is declared of some is not told apart here.
    slack = 0.02 if "bfloat16" in task.name else 1e-6
    allowed = bound + slack * max(1.0, abs(exact)) * (bound > 0.0)
    return None if abs(got - exact) <= allowed else f"got {got!r}, and {exact!r} is right"


def main(pattern: str) -> int:
    """Run the scripts of every implementation, print the counts, return the exit code."""
    good: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for name, implementation in registered().items():
        if not fnmatch.fnmatchcase(name, pattern) or implementation.missing_packages():
            continue
        chosen = list(tasks(implementation))
        told = run(chosen)
        for each in chosen:
            why = fault(each, told[each.name])
            (good if why is None else faults)[name] += 1
            missing[name] += "There is no script for" in each.text
            if why is not None:
                print(f"{each.name}: {why[:300]}", flush=True)
        print(f"{name:<28} {good[name]} right, {faults[name]} wrong, {missing[name]} without a template", flush=True)
    print(f"{good.total()} right, {faults.total()} wrong")
    return 1 if faults or not good else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "*"))
