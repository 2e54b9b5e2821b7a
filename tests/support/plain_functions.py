"""Functions as the author of a kernel writes them, right and wrong, and what looks like one."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.support.faulty_adapters import Exact


def dense(x: Any, kernel: Any, bias: Any = None) -> Any:
    """Written with operators alone, so that it takes the arrays of every framework."""
    y = x @ kernel
    return y if bias is None else y + bias


def without_a_default(x: Any, kernel: Any, bias: Any) -> Any:
    return dense(x, kernel, bias)


def forgets_the_bias(x: Any, kernel: Any, bias: Any) -> Any:
    return x @ kernel


_first_kernels: dict[tuple[int, ...], Any] = {}


def caches_its_first_kernel(x: Any, kernel: Any, bias: Any) -> Any:
    """As one that packs a kernel once and looks it up by its shape."""
    return dense(x, _first_kernels.setdefault(kernel.shape, kernel), bias)


def flattens(x: Any, kernel: Any, bias: Any) -> Any:
    return dense(x.reshape(-1, x.shape[-1]), kernel, bias)


def returns_a_list(x: Any, kernel: Any, bias: Any) -> Any:
    return dense(x, kernel, bias).tolist()


def hides_its_kernel(x: Any, kernel: Any, bias: Any) -> Any:
    return dense(x, 2 * kernel.detach() - kernel, bias)


def makes_an_adapter(x: Any = None, kernel: Any = None, bias: Any = None) -> Any:
    """No argument is required: it is called without any."""
    return Exact()


class Settings:
    def __init__(self, x: Any, kernel: Any, bias: Any) -> None: ...


built = partial(dense)
