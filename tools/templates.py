"""
Checks that reproducing scripts build the right layer: each script must print the exact answer within its bound.

A template that forgets a bias, transposes a kernel or takes another activation would show a fault of its own. For every
implementation, scripts are written for outputs, gradients and new weights of a few cases, and for the output of every
activation. Each script gets a finding that claims the exact answer.

`python -m tools.templates [GLOB]` prints the counts by implementation. The exit code is 1 if a script is wrong.
"""

from __future__ import annotations

import fnmatch
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np

from conformance.adapters.registry import Implementation, registered
from conformance.checks.cell import check_names, has_cell
from conformance.checks.question import MAIN, GradientProbe, OutputProbe, Question
from conformance.checks.references import question
from conformance.reference.enclosure import Enclosure
from conformance.results import CellRecord, CheckRecord
from conformance.run.reproduce.symptom import symptom_of
from conformance.run.reproduce.writer import script
from conformance.table.case import Case, Layer
from tools.reproductions import Task, run

TWO = (Layer(units=4, activation="relu"), Layer(units=3))


def cases(implementation: Implementation) -> Iterator[Case]:
    """Yield the cases to write scripts for: one for each part of a template."""
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
    # With 8 units the outputs of softmax differ enough.
    activations = implementation.activations
    for name in sorted(_ALL if activations is None else activations):
        yield replace(two, layers=(Layer(units=8, activation=name),))


_ALL = (
    *("linear", "relu", "sigmoid", "softmax", "tanh", "leaky_relu", "elu", "selu", "softplus", "softsign", "silu"),
    *("gelu", "gelu_tanh", "hard_sigmoid", "log_softmax", "exponential"),
)


def tasks(implementation: Implementation) -> Iterator[Task]:
    """Yield scripts that claim the exact answer as a finding, one for each kind of number."""
    for case in cases(implementation):
        if not has_cell(case, implementation):
            continue
        own = question(case, "cpu")
        for claimed, enclosure in _numbers(case, own, implementation):
            if claimed.check not in check_names(case) or not enclosure.exact.size:
                continue
            index = tuple(int(each) for each in np.unravel_index(enclosure.exact.size - 2, enclosure.exact.shape))
            number = float(enclosure.exact[index])
            found = msgspec.structs.replace(
                claimed,
                worst=list(index),
                got=number,
                exact=number,
                allowed=float(enclosure.allowed[index]),
            )
            record = CellRecord(
                case=case.id, implementation=implementation.name, device="cpu", outcome="violates", checks=[found]
            )
            text = script(record, own, case=case, implementation=implementation)
            shown = symptom_of(record, own)
            name = f"{implementation.name}/{case.id}/{claimed.step} {shown.gradient or ''}".rstrip()
            yield Task(name=name, text=text, symptom=shown, record=record)


def _numbers(case: Case, own: Question, implementation: Implementation) -> Iterator[tuple[CheckRecord, Enclosure]]:
    """Yield a failing check without numbers, and the enclosure of what it compares."""
    assert own.main is not None
    failing = CheckRecord(check="output", outcome="violates", message="claimed", step=MAIN)
    yield failing, own.main.y
    if len(case.layers) == 1 and case.layers[0].activation not in ("linear", "exponential"):
        return
    after = next(each for each in own.of(OutputProbe) if each.after_new_weights)
    assert after.reference is not None
    yield msgspec.structs.replace(failing, check="weights_live", step=after.label), after.reference.y
    if "gradients" in implementation.unanswerable:
        return
    reference = own.of(GradientProbe)[0].reference
    assert reference is not None
    failing = msgspec.structs.replace(failing, check="gradients", step="gradients", gradient="dx")
    yield failing, reference.dx
    for number, pair in enumerate(reference.layers):
        for name, each in zip(("dW", "db"), pair, strict=True):
            if each is not None:
                yield msgspec.structs.replace(failing, gradient=name, layer=number), each


def fault(task: Task, result: dict[str, str]) -> str | None:
    """Return how the answer of a script differs from the exact answer, or None if it does not."""
    if "There is no script for" in task.text:
        return None
    if result.get("ended") or result["raised"]:
        return result.get("ended") or result["raised"]
    (found,) = task.record.checks
    assert found.allowed is not None
    assert found.exact is not None
    bound, exact = float(found.allowed), float(found.exact)
    got = float(result["printed"].rpartition("\ngot ")[2])
    # The ledger declares sums over positions in the output's dtype for some implementations; all may have them here.
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
        result = run(chosen)
        for each in chosen:
            why = fault(each, result[each.name])
            (good if why is None else faults)[name] += 1
            missing[name] += "There is no script for" in each.text
            if why is not None:
                print(f"{each.name}: {why[:300]}", flush=True)
        print(f"{name:<28} {good[name]} right, {faults[name]} wrong, {missing[name]} without a template", flush=True)
    print(f"{good.total()} right, {faults.total()} wrong")
    return 1 if faults or not good else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "*"))
