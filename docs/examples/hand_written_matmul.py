"""A dense layer multiplied block by block, as a kernel for a cache or a GPU would: `conformance run` holds it."""

import numpy as np

BLOCK = 16


def dense(x, kernel, bias):
    """Return x (..., d) times kernel (d, m) plus bias (m,) or None, in the dtype of x."""
    features, units = kernel.shape
    if x.shape[-1] != features:
        raise ValueError(f"{x.shape[-1]} features were fed to a kernel for {features}")
    wide = np.float32 if x.dtype.itemsize < 4 else x.dtype  # 16 bits are too few to add up in
    y = np.zeros((*x.shape[:-1], units), wide)
    for start in range(0, features, BLOCK):
        stop = start + BLOCK
        y += x[..., start:stop].astype(wide) @ kernel[start:stop].astype(wide)
    if bias is not None:
        y += bias.astype(wide)
    return y.astype(kernel.dtype)
