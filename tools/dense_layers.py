"""Right and wrong dense layers, and the data to run them on, for `tools.rules`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conformance.reference import answer
from conformance.reference.lanes.draws import Draw, draws
from conformance.table.case import Case, Layer

Array = npt.NDArray[Any]
BATCH: Final = 4
UNITS: Final = 16
FEATURES: Final = (1, 8, 64, 512, 4096)
#: The sizes of square kernels. A kernel of size 1 is its own transpose; size 4096 takes too long.
SQUARE: Final = (8, 64, 512)
SCALES: Final = (1e-4, 1.0, 1e4)
SEEDS: Final = range(4)


def rounded(x: Array, bits: int) -> Array:
    """Return x rounded to a significand of `bits` bits, ties to even, as in a narrower format."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The data of a layer: x (P, K), W (K, m), b (m,), the answer in float64, and this suite's allowed error."""

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
    """Return the output of a layer for the data of a trial."""
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


#: The wrong layer that needs a square kernel.
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


def trials(features: int, units: int) -> Iterator[tuple[int, Trial]]:
    """Yield seed and trial for every input scale: mixed signs, kernels of variance 1/K, biases in (-1, 1)."""
    case = Case(input_shape=(features,), layers=(Layer(units=units),), batch=BATCH, lane="uniform")
    for seed in SEEDS:
        draw = draws(case, seed)[0]
        for scale in SCALES:
            yield seed, Trial.of(replace(draw, x=(draw.x * np.float32(scale)).astype(np.float32)))


def installed() -> Mapping[str, Layered]:
    """Return the right layers whose framework is installed."""
    return {name: layer for name, layer in RIGHT.items() if importlib.util.find_spec(name) is not None}
