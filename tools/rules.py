"""
The rule of this suite beside those by which others compare numbers, on the same dense layers, right and wrong.

A rule is judged by two error rates: how many right layers it rejects, and how many wrong ones it accepts. Right layers
are computed by the frameworks that are installed and by NumPy, wrong ones by NumPy with a fault planted; the answer
they are held to is computed in float64. Every rule is given that answer, better than what it has where it is used.

Two rules come with data of their own and are shown it: rocBLAS compares small integers for equality, and this suite has
its exact lane. `make rules` writes `docs/rules.md`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conformance.reference import answer
from conformance.reference.lanes.draws import Draw, draws
from conformance.table.case import Case, Layer

Array = npt.NDArray[Any]
DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
BATCH: Final = 4
UNITS: Final = 16
FEATURES: Final = (1, 8, 64, 512, 4096)
#: Where a square kernel is tried as well: at 1 it is its own transpose, at 4096 it takes too long.
SQUARE: Final = (8, 64, 512)
SCALES: Final = (1e-4, 1.0, 1e4)
SEEDS: Final = range(4)
#: Unit roundoff of float32, and the distance from 1 to the next number.
U: Final = 2.0**-24
EPS: Final = 2.0**-23


def rounded(x: Array, bits: int) -> Array:
    """Return x rounded to a significand of `bits` bits, ties to even: what a narrower format of operands would hold."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A layer with its data: x (P, K), W (K, m), b (m,), the answer in float64, and what is allowed here."""

    draw: Draw
    exact: Array
    allowed: Array

    @property
    def terms(self) -> int:
        """K, the number of products in a sum."""
        return int(self.draw.kernels[0].shape[0])

    @classmethod
    def of(cls, draw: Draw) -> Trial:
        """Return the trial of a draw for one linear layer."""
        enclosure = answer(draw, ["linear"], "float32").y
        return cls(draw=draw, exact=enclosure.exact, allowed=enclosure.allowed)


#: A way of computing x·W + b.
Layered = Callable[[Array, Array, Array], Array]


def computed(layer: Layered, trial: Trial) -> Array:
    """Return what a layer gives for the data of a trial."""
    bias = trial.draw.biases[0]
    assert bias is not None
    with np.errstate(over="ignore"):
        return layer(trial.draw.x, trial.draw.kernels[0], bias)


def numpy_layer(x: Array, kernel: Array, bias: Array) -> Array:
    """Compute with NumPy, in float32."""
    return x @ kernel + bias


def torch_layer(x: Array, kernel: Array, bias: Array) -> Array:
    """Compute with torch.nn.functional.linear."""
    import torch

    y = torch.nn.functional.linear(*(torch.from_numpy(np.ascontiguousarray(each)) for each in (x, kernel.T, bias)))
    result: Array = y.numpy()
    return result


def jax_layer(x: Array, kernel: Array, bias: Array) -> Array:
    """Compute with jax.numpy."""
    import jax.numpy as jnp

    return np.asarray(jnp.dot(x, kernel) + bias)


RIGHT: Final[Mapping[str, Layered]] = {"numpy": numpy_layer, "torch": torch_layer, "jax": jax_layer}


def _last_feature_dropped(x: Array, kernel: Array, bias: Array) -> Array:
    return x[:, :-1] @ kernel[:-1] + bias


def _one_weight_off(x: Array, kernel: Array, bias: Array) -> Array:
    kernel = kernel.copy()
    kernel[-1, -1] *= np.float32(1.001)
    return x @ kernel + bias


def _one_output_off(x: Array, kernel: Array, bias: Array) -> Array:
    y = x @ kernel + bias
    y[-1, -1] *= np.float32(1.01)
    return y


def _float16_output(x: Array, kernel: Array, bias: Array) -> Array:
    return (x @ kernel + bias).astype(np.float16).astype(np.float32)


def _units_swapped(x: Array, kernel: Array, bias: Array) -> Array:
    kernel = kernel.copy()
    kernel[:, :2] = kernel[:, 1::-1]
    return x @ kernel + bias


#: Wrong layers; the last is for square kernels alone.
TRANSPOSED: Final = "square kernel transposed"
WRONG: Final[Mapping[str, Layered]] = {
    "bias dropped": lambda x, kernel, bias: x @ kernel,
    "bias doubled": lambda x, kernel, bias: x @ kernel + bias + bias,
    "last feature dropped": _last_feature_dropped,
    "one weight off by 1e-3": _one_weight_off,
    "one output off by 1 %": _one_output_off,
    "TF32 operands": lambda x, kernel, bias: rounded(x, 11) @ rounded(kernel, 11) + bias,
    "bfloat16 kernel": lambda x, kernel, bias: x @ rounded(kernel, 8) + bias,
    "float16 output": _float16_output,
    "two units swapped": _units_swapped,
    TRANSPOSED: lambda x, kernel, bias: x @ kernel.T + bias,
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How somebody decides whether an answer is right: on data given to it, or on data of its own."""

    source: str
    accepts: Callable[[Array, Trial], bool] | None = None
    own: Callable[[int, int, int], Sequence[Trial]] | None = None
    """Trials of the rule's own for (features, units, seed), where it has any."""
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
    """Return integers that count float32 numbers in order, so that neighbours differ by 1."""
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


def trials(features: int, units: int) -> Iterator[tuple[int, Trial]]:
    """Yield seed and trial for every input scale: mixed signs, kernels of variance 1/K, biases in (-1, 1)."""
    case = Case(input_shape=(features,), layers=(Layer(units=units),), batch=BATCH, lane="uniform")
    for seed in SEEDS:
        draw = draws(case, seed)[0]
        for scale in SCALES:
            yield seed, Trial.of(replace(draw, x=(draw.x * np.float32(scale)).astype(np.float32)))


@dataclass
class Tally:
    """Counts per rule: right layers tried and rejected, wrong layers tried and accepted by kind of fault."""

    right: Counter[str]
    rejected: Counter[str]
    wrong: Counter[tuple[str, str]]
    accepted: Counter[tuple[str, str]]


def installed() -> Mapping[str, Layered]:
    """Return the frameworks among the right layers that are there."""
    return {name: layer for name, layer in RIGHT.items() if importlib.util.find_spec(name) is not None}


def measure(right: Mapping[str, Layered]) -> Tally:
    """Hold every layer to every rule."""
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
        # What a layer does on a rule's own data does not depend on the scale of the data given.
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
        "# Rules side by side\n\n"
        "Written by `make rules`; not edited by hand.\n\n"
        f"One dense layer, float32, mixed signs: K in {', '.join(map(str, FEATURES))} with {UNITS} units, and square "
        f"kernels of {', '.join(map(str, SQUARE))}; input scales {', '.join(f'{scale:g}' for scale in SCALES)}; "
        f"{len(SEEDS)} seeds; batch {BATCH}. {tally.right[OURS]} right runs ({versions}), "
        f"{sum(tally.wrong[OURS, fault] for fault in WRONG)} wrong ones (NumPy with one fault). "
        "A tolerance in brackets is (relative, absolute). Every rule is given the answer in float64.\n\n"
        "This suite asks a layer on both lanes and takes it for wrong where either says so; the last rule, too, brings "
        "its own data. Outputs alone are compared here; the suite compares gradients as well.\n\n"
        "## Both error rates\n\n"
        + _table(("rule", "right rejected", "wrong accepted", "source"), summary)
        + "\n\n## Wrong layers accepted, by what is wrong with them\n\n"
        + _table(("rule", *WRONG), by_fault)
        + "\n"
    )


def main() -> None:
    """Measure, and write the document."""
    right = installed()
    DOCUMENT.write_text(document(measure(right), right), encoding="utf-8")


if __name__ == "__main__":
    main()
