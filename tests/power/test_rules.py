"""The rules of `tools.rules` say what their owners say, and this suite's rule makes neither kind of error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.dense_layers import RIGHT, WRONG, Trial
from tools.rules import DOCUMENT, OURS, RULES, Tally, _equal, _small_integers, _ulps, close, measure


@pytest.fixture(scope="module")
def tally() -> Tally:
    return measure({"numpy": RIGHT["numpy"]})


@pytest.fixture
def trial() -> Trial:
    return _small_integers(8, 16, 0)[0]


def test_this_suite_rejects_no_right_layer(tally: Tally) -> None:
    assert tally.right[OURS] > 50
    assert tally.rejected[OURS] == 0


@pytest.mark.parametrize("fault", WRONG)
def test_this_suite_accepts_no_wrong_layer(fault: str, tally: Tally) -> None:
    assert tally.wrong[OURS, fault] > 20
    assert tally.accepted[OURS, fault] == 0


def test_equality_sees_the_last_bit(trial: Trial) -> None:
    right = trial.exact.astype(np.float32)
    wrong = right.copy()
    wrong[0, 0] = np.nextafter(wrong[0, 0], np.float32(np.inf))
    assert _equal(right, trial)
    assert not _equal(wrong, trial)


@pytest.mark.parametrize(("steps", "accepted"), [(17, True), (18, False)])
def test_ulps_are_counted_across_zero(steps: int, accepted: bool, trial: Trial) -> None:
    """At K = 8 the rule allows 17; from 9 subnormals below zero that is 8 above it."""
    tiny = np.float32(2.0**-149)
    below = replace(trial, exact=np.full((1, 1), -9 * float(tiny)))
    got = np.full((1, 1), (steps - 9) * tiny, np.float32)
    assert _ulps(got, below) == accepted


def test_close_adds_both_tolerances(trial: Trial) -> None:
    one = replace(trial, exact=np.ones((1, 1)))
    assert close(0.25, 0.5)(np.full((1, 1), 1.75), one)
    assert not close(0.25, 0.5)(np.full((1, 1), 1.7501), one)


def test_the_document_lists_every_rule_and_fault() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in (*RULES, *WRONG) if name not in text] == []
