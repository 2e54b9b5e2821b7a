"""Memory layouts: equal arrays, the strides that each layout promises, and gaps that show a layer that reads them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from conformance.sandbox.layouts import ALIGNMENT, arrange

LAYOUTS = ("contiguous", "unaligned", "padded", "strided", "transposed", "column_major", "broadcast", "expanded")
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
#: Strides of a (2, 3, 4) array in elements.
STRIDES = {
    "contiguous": (12, 4, 1),
    "unaligned": (12, 4, 1),
    "padded": (21, 7, 1),
    "strided": (24, 8, 2),
    "transposed": (4, 8, 1),
    "column_major": (1, 2, 6),
    "broadcast": (0, 4, 1),
    "expanded": (0, 0, 0),
}


def equal_where_needed(x: np.ndarray, layout: str) -> np.ndarray:
    """Return x, made equal along its first axis or altogether if the layout needs that."""
    kept = {"broadcast": x[:1], "expanded": x.reshape(-1)[:1].reshape((1,) * x.ndim)}.get(layout, x)
    return np.broadcast_to(kept, x.shape).copy()


def first_row(array: np.ndarray) -> np.ndarray:
    """Return the memory of the first row, gaps included."""
    return np.lib.stride_tricks.as_strided(
        array, shape=(array.strides[-2] // array.itemsize,), strides=(array.itemsize,)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.bool_])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_is_equal_in_each_layout_and_has_its_strides(layout: str, dtype: type[np.generic]) -> None:
    x = equal_where_needed(X.astype(dtype), layout)
    arranged = arrange(x, layout)
    assert (arranged.dtype, arranged.shape) == (x.dtype, x.shape)
    assert np.array_equal(arranged, x)
    assert arranged.strides == tuple(each * x.itemsize for each in STRIDES[layout])
    assert arranged.ctypes.data % ALIGNMENT == (x.itemsize if layout == "unaligned" else 0)


@pytest.mark.parametrize(("layout", "gap"), [("padded", slice(4, 7)), ("strided", slice(1, 8, 2))])
def test_a_gap_has_nan_or_the_largest_integer(layout: str, gap: slice) -> None:
    assert np.isnan(first_row(arrange(X, layout))[gap]).all()
    assert (first_row(arrange(X.astype(np.int8), layout))[gap] == 127).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (5,), (0,)])
def test_empty_arrays_and_vectors_have_layouts(layout: str, shape: tuple[int, ...]) -> None:
    if layout == "transposed" and len(shape) == 1:
        return
    assert arrange(np.ones(shape, np.float32), layout).shape == shape


def test_equal_means_nan_to_nan_as_well() -> None:
    repeated = np.array([[1.0, np.nan], [1.0, np.nan]], np.float32)
    assert arrange(repeated, "broadcast").strides[0] == 0
    assert arrange(np.full((2, 2), np.nan), "expanded").strides == (0, 0)


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (np.array([[1.0, np.nan], [1.0, 2.0]], np.float32), "broadcast", "equal along its first axis"),
        (np.array([[1.0, 1.0], [1.0, 2.0]], np.float32), "expanded", "elements are all equal"),
        (X, "sideways", "no such layout: 'sideways'"),
    ],
)
def test_an_array_that_cannot_lie_so_is_refused(array: np.ndarray, layout: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arrange(array, layout)
