"""A row that expects an error conforms if the framework refuses it, and accepts a legal sibling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.checks.finding import Missing
from conformance.checks.refusal import Refused
from conformance.sandbox.steps import (
    Answer,
    Done,
    Output,
    Raised,
)
from tests.support.verdicts import subject

OUTPUT = Output(y=np.zeros((2, 3)), placement="cpu", strides=None)
LEGAL: dict[str, Answer] = {"sibling build": Done(), "sibling output": OUTPUT}
REFUSED = Raised(
    type="ValueError",
    message="no",
    modules=("conformance.sandbox.execution", "conformance.adapters.keras.keras3", "keras.src.x"),
    traceback="",
)


@pytest.mark.parametrize(
    ("answers", "outcome", "message"),
    [
        ({**LEGAL, "build": REFUSED}, "conforms", None),
        ({**LEGAL, "build": Done(), "output": REFUSED}, "conforms", None),
        ({**LEGAL, "build": Done(), "output": OUTPUT}, "violates", "accepted"),
        ({**LEGAL, "build": replace(REFUSED, modules=REFUSED.modules[:2])}, "violates", "outside the framework"),
        (
            {**LEGAL, "build": replace(REFUSED, modules=("keras.x", "conformance.adapters.keras.keras3"))},
            "violates",
            "outside",
        ),
        ({**LEGAL, "build": replace(REFUSED, modules=(*REFUSED.modules[:2], "numpy.x"))}, "violates", "outside"),
        ({"build": REFUSED}, "violates", "sibling"),
        ({**LEGAL, "sibling output": REFUSED, "build": REFUSED}, "violates", "sibling"),
        (LEGAL, "violates", "never reached"),
    ],
)
def test_refusal(answers: dict[str, Answer], outcome: str, message: str | None) -> None:
    try:
        finding = Refused().judge(subject(answers))
    except Missing as missing:
        finding = missing.finding
    assert finding.outcome == outcome
    assert message is None or message in str(finding.message)
