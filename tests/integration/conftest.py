"""Fixtures of the tests of whole commands: the folder of nights, and sandboxes of the adapter that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters.registry import Implementation
from conformance.sandbox.sandbox import Limits, Sandbox
from tests.support.questions import implementation


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the tests that only care for one question; each leaves it able to answer the next."""
    with Sandbox(implementation(), limits=Limits(question=10.0)) as sandbox:
        yield sandbox


@pytest.fixture
def sandboxed() -> Iterator[Callable[..., Sandbox]]:
    """Makes sandboxes that are closed afterwards."""
    made: list[Sandbox] = []

    def make(each: Implementation | None = None, *, search_path: Sequence[str] = (), **limits: Any) -> Sandbox:
        made.append(Sandbox(each or implementation(), limits=Limits(**limits), search_path=search_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder of a site of nights."""
    return tmp_path / "site"
