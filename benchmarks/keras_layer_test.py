"""
(b) The suite compared with Keras's own `run_layer_test`: Dense on the four shapes of the README, on TensorFlow.

    python -m benchmarks.keras_layer_test [ROUNDS]

Both test one layer of 4 units, each in one process that has imported Keras, after one case that is not counted. The
figure is wall time per case, which is a cell of the suite; a row has two, one exact and one uniform. Keras's test is
`keras.src.testing.TestCase.run_layer_test`, with its training and its mixed-precision check.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.bare_loop import cells_of
from benchmarks.cpu_time import python
from conformance.adapters.registry import select
from conformance.checks.cell import check_names
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.sandbox import environment
from conformance.table.case import Layer

NAME: Final = "keras-tensorflow"
SHAPES: Final = ((784,), (784, 1), (32, 28), (32, 28, 1))
UNITS: Final = 4
#: The lanes of a row without `values`.
LANES: Final = ("exact", "uniform")
KERAS_CHECKS: Final = (
    "serialization, weight and variable counts, masking, shape and dtype of the output (symbolic, eager and of a saved "
    "model), one step of training, mixed precision; no values unless they are given"
)


def measure(rounds: int = 5) -> dict[str, Any]:
    """Return the median wall time of a case of both (seconds), their ratio, and what each checks."""
    (implementation,) = select([NAME])
    with tempfile.TemporaryDirectory() as home:
        variables = environment.process_environment(
            implementation.environment, os.environ, threads=1, home=Path(home), cache=None
        )
        done = python("-m", "benchmarks.keras_layer_test", "--keras", str(rounds), environment=variables)
    theirs = json.loads(done.output.splitlines()[-1])
    ours, checks = _ours(rounds)
    return {
        "keras": statistics.median(theirs),
        "suite": statistics.median(ours),
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "target": 10.0,
        "keras_checks": KERAS_CHECKS,
        "suite_checks": ", ".join(checks),
    }


def _ours(rounds: int) -> tuple[list[float], tuple[str, ...]]:
    """Return the seconds of each cell of each round, values and reference included, and the checks."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [f"  - {{input_shape: {list(shape)}, units: {UNITS}}}" for shape in SHAPES]
        table = Path(folder) / "rows.yaml"
        table.write_text("\n".join(["description: The layer of the question.", "rows:", *rows, ""]), encoding="utf-8")
        cells = cells_of([NAME], [str(table)])
    assert len(cells) == len(LANES) * len(SHAPES), f"{len(cells)} cells of {len(SHAPES)} rows"
    seconds: list[float] = []
    for number in range(1, rounds + 1):
        runner = Runner(caches_questions=False, processes=ProcessOptions(threads=1))
        for cell in (cells[0], *cells):
            started = time.perf_counter()
            record = runner.run(cell)
            seconds.append(time.perf_counter() - started)
            assert record.outcome == "conforms", record
        runner.close()
        del seconds[-len(cells) - 1]  # the one that started the process
        assert len(seconds) == number * len(cells)
    return seconds, check_names(cells[-1].case)


def _theirs(rounds: int) -> list[float]:
    import keras
    from keras.src.testing import TestCase

    class OfDense(TestCase):  # type: ignore[misc] # untyped
        def runTest(self) -> None:  # noqa: N802 - unittest's name
            """A test case without a test: `run_layer_test` is called from outside."""

    test = OfDense()
    test.setUp()
    seconds = []
    for shape in (SHAPES[0], *(SHAPES * rounds)):
        bias = Layer(units=UNITS).use_bias
        started = time.perf_counter()
        test.run_layer_test(
            keras.layers.Dense,
            init_kwargs={"units": UNITS, "use_bias": bias},
            input_shape=(2, *shape),
            expected_output_shape=(2, *shape[:-1], UNITS),
            expected_num_trainable_weights=2,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=0,
            expected_num_losses=0,
            supports_masking=True,
        )
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    return [
        (
            f"A case of `Dense(4)` takes {1000 * found['keras']:.0f} ms in Keras's `run_layer_test` and "
            f"{1000 * found['suite']:.1f} ms here: **{found['ratio']:.2g} times** as fast (target {found['target']:g})."
        ),
        "",
        f"- `run_layer_test` checks {found['keras_checks']}.",
        f"- The suite checks {found['suite_checks']}.",
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--keras"]:
        print(json.dumps(_theirs(int(sys.argv[2]))))
    else:
        print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
