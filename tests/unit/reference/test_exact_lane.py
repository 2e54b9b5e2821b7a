"""The lane `exact`: biases and gradients are sums of few bits, in every order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.reference.lanes.draws import NoDraw, draws
from conformance.table.case import DTYPES
from tests.support.faulty_adapters import rounded
from tests.support.lanes import case_of, wide

Array = Any


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float64", 24), ("float32", 11), ("float32", 8), ("float16", 4), ("bfloat16", 4)]
)
@pytest.mark.parametrize("features", [1, 8, 512])
def test_a_bias_of_fewer_bits_is_outside(dtype: str, bits: int, features: int) -> None:
    case = case_of("exact", (features,), dtype=dtype)
    biases = [draw.biases[0] for draw in draws(case)]
    assert any((rounded(each, bits) != each).any() for each in biases if each is not None)


def in_orders(terms: Array, seed: int) -> set[bytes]:
    """Return the sums along the first axis, in the dtype of the terms, in four orders, as bits."""
    generator = np.random.default_rng(seed)
    found = set()
    for _ in range(4):
        total = np.zeros(terms.shape[1:], terms.dtype)
        for index in generator.permutation(len(terms)):
            total = (total + terms[index]).astype(terms.dtype)
        found.add((total + terms.dtype.type(0)).tobytes())
    return found


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    features=st.integers(1, 9),
    units=st.integers(1, 9),
    batch=st.integers(1, 5),
    activation=st.sampled_from(["linear", "relu"]),
    use_bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_gradients_and_biases_are_exact_in_every_order(
    dtype: str, features: int, units: int, batch: int, activation: str, use_bias: bool, seed: int
) -> None:
    """Bit by bit, in the dtype itself: also for 16 bits, which some implementations add gradients up in."""
    case = case_of("exact", (features,), (units,), dtype=dtype, batch=batch, activation=activation, use_bias=use_bias)
    try:
        drawn = draws(case)
    except NoDraw:
        return
    for draw in drawn:
        x, kernel, bias = draw.x, draw.kernels[0], draw.biases[0]
        terms = x.T[:, :, None] * kernel[:, None, :]
        if bias is not None:
            terms = np.concatenate([terms, np.broadcast_to(bias, (1, *terms.shape[1:]))])
        z = wide(terms).sum(axis=0)
        dz = draw.dy * (z > 0) if activation == "relu" else draw.dy
        dz = dz.astype(draw.dy.dtype)
        sums = (terms, x[:, :, None] * dz[:, None, :], dz, dz.T[:, :, None] * kernel.T[:, None, :])
        for each in sums:
            (bits,) = in_orders(each, seed)
            got = np.frombuffer(bits, each.dtype).astype(np.float64)
            assert (got == wide(each).sum(axis=0).ravel()).all()
