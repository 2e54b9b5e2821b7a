"""
The outputs by which right implementations differ: rounding before the bias is added, and flushing of subnormals.

The bounds allow all variants. The results count how many elements of an output agree with each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw

#: The outputs of the variants by name, all of one shape and dtype.
Variants = Mapping[str, Array]
#: The number of features at which a format that is its own accumulator shows how the bias is added.
_ONE_PRODUCT: Final = 1


@np.errstate(over="ignore", invalid="ignore")
def rounding_variants(draw: Draw, activations: Sequence[str], dtype: str) -> Mapping[str, Variants]:
    """
    Return the variants of the output of one linear layer, by what they show. Nothing for other stacks.

    - `bias`: `rounded once`, y = round(x·W + b), or `rounded twice`, round(round(x·W) + b). In a format that is its own
      accumulator only an output of one product shows the difference.
    - `x denormal`, `kernel denormal`, `products denormal`: `kept` or `flushed`.
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
    shows_rounding = form.accumulator != dtype or kernel.shape[0] == _ONE_PRODUCT
    if bias is None or draw.exact or not shows_rounding or dtype == "float64":
        return {}
    once = (product + bias.astype(np.float64)).astype(form.dtype)
    twice = (product.astype(form.dtype).astype(np.float64) + bias.astype(np.float64)).astype(form.dtype)
    return {"bias": {"rounded once": once, "rounded twice": twice}}


def variant_counts(outputs: Iterable[tuple[Array, Mapping[str, Variants]]]) -> dict[str, dict[str, int]]:
    """
    Return, by what they show, in how many elements the variants differ, and with how many of them each agrees.

    Args:
        outputs: outputs with their variants. An output of another shape than its variants is not counted.
    """
    counts: dict[str, Counter[str]] = {}
    for output, by_name in outputs:
        for name, variants in by_name.items():
            first, *others = variants.values()
            if output.shape != first.shape:
                continue
            differs = np.any([first != other for other in others], axis=0)
            counter = counts.setdefault(name, Counter())
            counter["outputs that tell"] += int(np.count_nonzero(differs))
            for variant, values in variants.items():
                counter[variant] += int(np.count_nonzero(differs & (output == values)))
    return {name: dict(counter) for name, counter in counts.items() if counter["outputs that tell"]}
