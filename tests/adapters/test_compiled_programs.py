"""What JAX compiled is kept from one process to the next, and changes no bit of any answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.adapters.registry import select
from conformance.checks.cell import cell_of
from conformance.results import plain
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.selection import Selection

ROWS = """\
description: Rows whose answers have many bits.
rows:
  - {input_shape: [3, 37], units: 5, values: uniform}
  - {input_shape: [65], units: 3, activation: gelu, dtype: bfloat16, values: uniform}
"""


def records(name: str, rows: Path, cache: Path | None) -> list[dict[str, Any]]:
    (implementation,) = select([name])
    runner = Runner(processes=ProcessOptions(threads=1, cache=cache))
    cases = Selection(cases=(str(rows),)).table()
    found = [plain(runner.run(cell_of(case, implementation, "cpu"))) for case in cases]
    runner.close()
    return found


def judged(found: list[dict[str, Any]]) -> list[Any]:
    """Return what is said of every cell: outcome, and of each check its margin, the bits of the output and the rest."""
    return [(each["case"], each["outcome"], each["checks"]) for each in found]


def test_results_are_bitwise_the_same_with_and_without_what_was_compiled_before(tmp_path: Path) -> None:
    rows = tmp_path / "rows.yaml"
    rows.write_text(ROWS, encoding="utf-8")
    without = records("flax-nnx", rows, None)
    assert [each["outcome"] for each in without] == ["conforms"] * 2
    cache = tmp_path / "cache"
    first = records("flax-nnx", rows, cache)
    kept = sorted(cache.rglob("*-cache"))
    assert kept, "nothing was kept"
    second = records("flax-nnx", rows, cache)
    assert sorted(cache.rglob("*-cache")) == kept, "what was kept was not found again"
    assert judged(without) == judged(first) == judged(second)
    assert all(check["facts"]["bits"] for each in without for check in each["checks"] if check["check"] == "output")
