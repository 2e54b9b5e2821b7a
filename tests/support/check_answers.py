"""Answers to checks, for the tests of single checks."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Gradients
from conformance.sandbox.steps import Raised
from tests.support.verdicts import around

REFUSED = Raised(
    type="ValueError", message="no", modules=("conformance.adapters.keras.keras3", "keras.x", "numpy.y"), traceback=""
)

ONE, HALF = np.ones((1, 1), np.float32), np.full(1, 0.5, np.float32)
DW, DB = around(np.ones((1, 1)), 1.0), around(np.full(1, 0.5), 1.0)
RIGHT = Gradients(dx=np.ones(1, np.float32), layers=((ONE, HALF), (ONE, HALF)))
