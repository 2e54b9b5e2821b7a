"""
Compares the bounds of this suite with the tolerances of other suites, on the same right and wrong dense layers.

A rule decides whether an answer is right. It has two error rates: the share of right layers that it rejects, and the
share of wrong layers that it accepts. Installed frameworks and NumPy compute the right layers; NumPy with a planted
fault computes the wrong ones. Every rule compares with the answer in float64, which is better than what it has in use.

Two rules have data of their own: rocBLAS compares small integers for equality, and this suite has its exact lane.
`make rules` writes `docs/rules.md`.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from conformance.reference.lanes.draws import Draw, draws
from conformance.table.case import Case, Layer
from tools.dense_layers import (
    BATCH,
    FEATURES,
    SCALES,
    SEEDS,
    SQUARE,
    TRANSPOSED,
    UNITS,
    WRONG,
    Array,
    Layered,
    Trial,
    computed,
    installed,
    trials,
)

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
#: Unit roundoff of float32, and the distance from 1 to the next number.
U: Final = 2.0**-24
EPS: Final = 2.0**-23


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a suite decides whether an answer is right: on given data, or on data of its own."""

    source: str
    accepts: Callable[[Array, Trial], bool] | None = None
    own: Callable[[int, int, int], Sequence[Trial]] | None = None
    """The rule's own trials for (features, units, seed), or None."""
    on_own: Callable[[Array, Trial], bool] | None = None


def close(relative: float, absolute: float) -> Callable[[Array, Trial], bool]:
    """Return the rule |got - exact| <= absolute + relative·|exact|, for every element."""

    def accepts(got: Array, trial: Trial) -> bool:
        return bool((np.abs(got - trial.exact) <= absolute + relative * np.abs(trial.exact)).all())

    return accepts


def _isclose(got: Array, trial: Trial) -> bool:
    return all(
        math.isclose(a, b, rel_tol=0.25, abs_tol=1.0)
        for a, b in zip(got.ravel().tolist(), trial.exact.ravel().tolist(), strict=True)
    )


def _by_size(got: Array, trial: Trial) -> bool:
    tolerance = 1e-6 * got.size
    return close(tolerance, tolerance)(got, trial)


def _ordered(numbers: Array) -> Array:
    """Return the position of each float32 number in order, so that neighbours differ by 1."""
    bits = numbers.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _ulps(got: Array, trial: Trial) -> bool:
    distance = np.abs(_ordered(got) - _ordered(trial.exact))
    return bool((distance <= 2 * trial.terms + 1).all())


def _normwise(got: Array, trial: Trial) -> bool:
    bias = np.broadcast_to(trial.draw.biases[0].astype(np.float64), got.shape)  # type: ignore[union-attr]
    x, kernel = (np.linalg.norm(each.astype(np.float64)) for each in (trial.draw.x, trial.draw.kernels[0]))
    scale = math.sqrt(trial.terms + 2) * x * kernel + 2 * np.linalg.norm(bias)
    return bool(np.linalg.norm(got - trial.exact) < U * scale)


def _absolute(got: Array, trial: Trial) -> bool:
    return bool((np.abs(got - trial.exact) <= trial.terms * EPS).all())


def _equal(got: Array, trial: Trial) -> bool:
    return bool((got == trial.exact).all())


def _derived(got: Array, trial: Trial) -> bool:
    return bool((np.abs(got - trial.exact) <= trial.allowed).all())


def _small_integers(features: int, units: int, seed: int) -> Sequence[Trial]:
    generator = np.random.default_rng((seed, features, units))

    def integers(*shape: int) -> Array:
        return generator.integers(1, 10, shape, endpoint=True).astype(np.float32)

    draw = Draw(
        name="integers",
        x=integers(BATCH, features),
        kernels=(integers(features, units),),
        biases=(integers(units),),
        dy=np.zeros((BATCH, units), np.float32),
        exact=True,
    )
    return [Trial.of(draw)]


def _exact_lane(features: int, units: int, seed: int) -> Sequence[Trial]:
    case = Case(input_shape=(features,), layers=(Layer(units=units),), batch=BATCH, lane="exact")
    return [Trial.of(draw) for draw in draws(case, seed)]


OURS: Final = "this suite: either lane"
RULES: Final[Mapping[str, Rule]] = {
    OURS: Rule(source="`conformance/reference/answer.py`", accepts=_derived, own=_exact_lane, on_own=_equal),
    "this suite: derived bound alone": Rule(source="`conformance/reference/answer.py`", accepts=_derived),
    "this suite: exact lane alone": Rule(
        source="`conformance/reference/lanes/draws.py`", own=_exact_lane, on_own=_equal
    ),
    "numpy `assert_allclose` default (1e-7, 0)": Rule(source="numpy: numpy/testing", accepts=close(1e-7, 0.0)),
    "numpy `allclose` default (1e-5, 1e-8)": Rule(source="numpy: numpy/_core/numeric.py", accepts=close(1e-5, 1e-8)),
    "`torch.testing.assert_close` (1.3e-6, 1e-5)": Rule(
        source="pytorch: torch/testing/_comparison.py", accepts=close(1.3e-6, 1e-5)
    ),
    "Keras `assertAllClose` (1e-6, 1e-6)": Rule(
        source="keras: keras/src/testing/test_case.py", accepts=close(1e-6, 1e-6)
    ),
    "JAX `check_close`, 1e-6 × array size": Rule(source="jax: jax/_src/public_test_util.py", accepts=_by_size),
    "ONNX backend tests (1e-3, 1e-7)": Rule(source="onnx: onnx/backend/test", accepts=close(1e-3, 1e-7)),
    "array-api-tests, scalars (0.25, 1)": Rule(source="data-apis/array-api-tests", accepts=_isclose),
    "WebNN gemm, 2K+1 ULP": Rule(source="wpt: webnn/resources/utils.js", accepts=_ulps),
    "BLAS++, norm of the error < u·√(K+2)": Rule(source="blaspp: test/check_gemm.hh", accepts=_normwise),
    "rocBLAS near check, K·eps absolute": Rule(source="rocBLAS: clients/include/near.hpp", accepts=_absolute),
    "rocBLAS, integers 1 to 10, equality": Rule(
        source="rocBLAS: clients/include/rocblas_random.hpp", own=_small_integers, on_own=_equal
    ),
}


@dataclass
class Tally:
    """Counts for each rule: right layers and rejected ones; wrong layers and accepted ones, by fault."""

    right: Counter[str]
    rejected: Counter[str]
    wrong: Counter[tuple[str, str]]
    accepted: Counter[tuple[str, str]]


def measure(right: Mapping[str, Layered]) -> Tally:
    """Apply every rule to every layer."""
    tally = Tally(right=Counter(), rejected=Counter(), wrong=Counter(), accepted=Counter())
    shapes = [(features, UNITS) for features in FEATURES] + [(features, features) for features in SQUARE]
    for features, units in shapes:
        owned = {
            (name, seed): rule.own(features, units, seed)
            for name, rule in RULES.items()
            if rule.own is not None
            for seed in SEEDS
        }
        layers = {**right, **{name: layer for name, layer in WRONG.items() if name != TRANSPOSED or features == units}}
        # The result on a rule's own data does not depend on the scale of the given data.
        on_own = {
            (name, seed, layer): _passes_own(RULES[name], compute, own)
            for (name, seed), own in owned.items()
            for layer, compute in layers.items()
        }
        for seed, trial in trials(features, units):
            for layer, compute in layers.items():
                got = computed(compute, trial)
                for name, rule in RULES.items():
                    passes = rule.accepts is None or rule.accepts(got, trial)
                    passes = passes and on_own.get((name, seed, layer), True)
                    if layer in right:
                        tally.right[name] += 1
                        tally.rejected[name] += not passes
                    else:
                        tally.wrong[name, layer] += 1
                        tally.accepted[name, layer] += passes
    return tally


def _passes_own(rule: Rule, compute: Layered, own: Sequence[Trial]) -> bool:
    assert rule.on_own is not None
    return all(rule.on_own(computed(compute, trial), trial) for trial in own)


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f} %" if part else "0"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def document(tally: Tally, right: Mapping[str, Layered]) -> str:
    """Return the text of `docs/rules.md`."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in right)
    summary = []
    for name, rule in RULES.items():
        wrong = sum(tally.wrong[name, fault] for fault in WRONG)
        accepted = sum(tally.accepted[name, fault] for fault in WRONG)
        rejected = _percent(tally.rejected[name], tally.right[name])
        summary.append((name, rejected, _percent(accepted, wrong), rule.source))
    by_fault = [
        (name, *(_percent(tally.accepted[name, fault], tally.wrong[name, fault]) for fault in WRONG)) for name in RULES
    ]
    return (
        "# Bounds and tolerances compared\n\n"
        "Written by `make rules`, not by hand.\n\n"
        f"One dense layer, float32, mixed signs: K in {', '.join(map(str, FEATURES))} with {UNITS} units, and square "
        f"kernels of {', '.join(map(str, SQUARE))}; input scales {', '.join(f'{scale:g}' for scale in SCALES)}; "
        f"{len(SEEDS)} seeds; batch {BATCH}. {tally.right[OURS]} right runs ({versions}), "
        f"{sum(tally.wrong[OURS, fault] for fault in WRONG)} wrong ones (NumPy with one fault). "
        "A tolerance in brackets is (relative, absolute). Every rule compares with the answer in float64.\n\n"
        "This suite runs a layer on both lanes, and rejects it if either does. The last rule has data of its own too. "
        "Only outputs are compared here; the suite compares gradients as well.\n\n"
        "## Both error rates\n\n"
        + _table(("rule", "right rejected", "wrong accepted", "source"), summary)
        + "\n\n## Wrong layers accepted, by fault\n\n"
        + _table(("rule", *WRONG), by_fault)
        + "\n"
    )


def main() -> None:
    """Measure, and write `docs/rules.md`."""
    right = installed()
    DOCUMENT.write_text(document(measure(right), right), encoding="utf-8")


if __name__ == "__main__":
    main()
