"""
What right implementations do differently: for outputs that tell, the answer each conduct gives.

The bounds allow a product to be rounded before its bias is added, and a denormal to be flushed to zero. Which of them
an implementation does is no matter of right and wrong, but worth knowing: here are the outputs by which it is seen.
This module judges nothing, and never sees what an implementation returned but to count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw

#: Of one conduct the answers of each way, by name; all of the output's shape and dtype.
Ways = Mapping[str, Array]
#: Features from which the sum itself may hide how its bias was added, in a format that is its own accumulator.
_ONE_PRODUCT: Final = 1


@np.errstate(over="ignore", invalid="ignore")
def conducts(draw: Draw, activations: Sequence[str], dtype: str) -> Mapping[str, Ways]:
    """
    Return what the output of one draw would be, conduct by conduct, for one linear layer; none where nothing is told.

    `bias`: `rounded once`, y = round(x·W + b), or `rounded twice`, round(round(x·W) + b). In a format that is its own
    accumulator only a single product tells. `x denormal`, `kernel denormal` and `products denormal`: `kept` or
    `flushed`.
    """
    if tuple(activations) != ("linear",) or not draw.x.size or not draw.kernels[0].size:
        return {}
    form = FORMATS[dtype]
    kernel, bias = draw.kernels[0], draw.biases[0]
    operands = (draw.x, kernel, *([] if bias is None else [bias]))
    if not all(np.isfinite(each.astype(np.float64)).all() for each in operands):
        return {}
    product = draw.x.astype(np.float64) @ kernel.astype(np.float64)
    if draw.denormal:
        total = product if bias is None else product + bias.astype(np.float64)
        kept = total.astype(form.dtype)
        return {draw.name: {"kept": kept, "flushed": np.zeros_like(kept)}}
    tells = form.accumulator != dtype or kernel.shape[0] == _ONE_PRODUCT
    if bias is None or draw.exact or not tells or dtype == "float64":
        return {}
    once = (product + bias.astype(np.float64)).astype(form.dtype)
    twice = (product.astype(form.dtype).astype(np.float64) + bias.astype(np.float64)).astype(form.dtype)
    return {"bias": {"rounded once": once, "rounded twice": twice}}


def seen(answers: Iterable[tuple[Array, Mapping[str, Ways]]]) -> dict[str, dict[str, int]]:
    """
    Return for each conduct how many outputs tell, and how many of them each way explains.

    An output tells where the ways differ. Outputs of another shape than the answers tell nothing.
    """
    counts: dict[str, Counter[str]] = {}
    for got, told in answers:
        for conduct, ways in told.items():
            first, *others = ways.values()
            if got.shape != first.shape:
                continue
            telling = np.any([first != other for other in others], axis=0)
            counted = counts.setdefault(conduct, Counter())
            counted["outputs that tell"] += int(np.count_nonzero(telling))
            for way, answer in ways.items():
                counted[way] += int(np.count_nonzero(telling & (got == answer)))
    return {conduct: dict(counted) for conduct, counted in counts.items() if counted["outputs that tell"]}
