"""
PyTorch's further ways to a dense layer, and ONNX Runtime, on the frameworks themselves: right, and seen when wrong.

Run as a script, this file is a process that plants a fault in torch and asks an implementation all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from conformance.adapters.registry import Implementation, select
from conformance.checks.cell import Cell, concerns
from conformance.ledger import load_ledger
from conformance.run.cell_runner import Runner
from conformance.table.case import Case
from conformance.table.loader import default_cases, load
from tests.support.paths import ROOT

VALUES = ("compile", "export", "lazy", "functional", "conv1d")
NAMES = (*(f"torch:{each}" for each in VALUES), "onnxruntime:torch", "onnxruntime:keras")


def _cases(implementation: Implementation) -> Sequence[Case]:
    """Return the rows a person runs first that the implementation is asked, of one rank where there are values."""
    table = [case for case in load([default_cases()]).cases if case.tier == "quick" and concerns(case, implementation)]
    if implementation.shapes_only:
        return table
    return [case for case in table if "seed" in case.row and case.input_shape == (32, 28) and case.lane == "exact"]


def _records(implementation: Implementation, *, in_process: bool = False) -> Iterator[dict[str, Any]]:
    runner = Runner(behaviours=load_ledger([default_cases()]), in_process=in_process)
    try:
        for case in _cases(implementation):
            yield runner.run(Cell(case=case, implementation=implementation, device="cpu"))
    finally:
        runner.close()


@pytest.mark.parametrize("name", [*NAMES, "torch:meta"])
def test_it_builds_infers_counts_and_computes(name: str) -> None:
    (implementation,) = select([name])
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    records = list(_records(implementation))
    assert records
    for record in records:
        assert record["outcome"] in ("conforms", "diverges"), record
        outcomes = {each["check"]: each["outcome"] for each in record["checks"]}
        assert outcomes["output_shape"] == "conforms"
        expected = "unsupported" if "parameters" in implementation.unanswerable else "conforms"
        assert outcomes["parameters"] == expected
        if not implementation.shapes_only:
            assert outcomes["output"] == "conforms"
            assert outcomes["gradients"] == (
                "unsupported" if "gradients" in implementation.unanswerable else "conforms"
            )


@pytest.mark.parametrize("implementation", select(["torch:*", "onnxruntime:*"]), ids=lambda each: each.name)
def test_it_is_asked_by_night_and_only_what_it_can_take(implementation: Implementation) -> None:
    assert implementation.tier == "nightly"
    assert implementation.shapes_only == (implementation.name == "torch:meta")
    ranks = {len(case.input_shape) for case in load([default_cases()]).cases if concerns(case, implementation)}
    assert (ranks == {2}) == (implementation.name == "torch:conv1d")


def test_a_planted_fault_is_noticed() -> None:
    if select(["torch"])[0].missing_packages():
        pytest.skip("not installed: torch")
    script = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CONFORMANCE_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert script.returncode == 0, script.stderr[-4000:]
    found = json.loads(script.stdout.splitlines()[-1])
    for name in ("torch:lazy", "torch:functional", "torch:conv1d", "torch:export"):
        assert {"output", "gradients"} <= {*found[name]}, found
    assert found["torch:meta"] == ["output_shape"]
    assert any("no compiled graph was run" in each for each in found["torch:compile"]), found


# What follows runs in a process of its own.


@contextmanager
def _replaced(owner: Any, name: str, by: Callable[[Any], Any]) -> Iterator[None]:
    honest = getattr(owner, name)
    setattr(owner, name, by(honest))
    try:
        yield
    finally:
        setattr(owner, name, honest)


def _violated(name: str) -> list[str]:
    # One process has one environment; no implementation here needs its own for a fault to show.
    implementation = replace(select([name])[0], environment={})
    return [
        each["check"] if "raised" not in each else each["message"]
        for record in _records(implementation, in_process=True)
        for each in record["checks"]
        if each["outcome"] == "violates"
    ]


def main() -> None:
    """Print, as JSON on the last line, what of each implementation violates once torch has a fault."""
    import torch
    from torch.nn import functional

    def doubled(honest: Any) -> Any:
        return lambda x, weight, *rest: honest(x, 2 * weight, *rest)

    def flat(honest: Any) -> Any:
        return lambda x, *rest: honest(x, *rest).flatten(0, 1)

    def never_compiled(honest: Any) -> Any:
        return lambda module, **options: module

    found = {}
    for name, owner, attribute, fault in (
        ("torch:lazy", functional, "linear", doubled),
        ("torch:functional", functional, "linear", doubled),
        ("torch:export", functional, "linear", doubled),
        ("torch:conv1d", functional, "conv1d", doubled),
        ("torch:meta", functional, "linear", flat),
        ("torch:compile", torch, "compile", never_compiled),
    ):
        with _replaced(owner, attribute, fault):
            found[name] = _violated(name)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
