"""Fixtures of the tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import Maker


@pytest.fixture
def run_of(tmp_path: Path) -> Maker:
    return Maker(tmp_path)
