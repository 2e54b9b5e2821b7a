"""A dense layer whose kernel is int8 with a scale for each unit. The suite says by how much that is not the layer."""

import numpy as np


def dense(x, kernel, bias):
    """Return x (..., d) times the kernel (d, m) rounded to int8, plus bias (m,) or None, in the dtype of the kernel."""
    largest = np.abs(kernel.astype(np.float32)).max(axis=0, initial=0)
    scale = np.where(largest > 0, largest, 1) / np.float32(127)
    small = np.round(kernel.astype(np.float32) / scale).astype(np.int8)
    y = (x.astype(np.float32) @ small.astype(np.float32)) * scale
    if bias is not None:
        y = y + bias.astype(np.float32)
    return y.astype(kernel.dtype)
