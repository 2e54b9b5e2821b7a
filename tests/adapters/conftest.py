"""The answers of frameworks, which the workers of a run share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from conformance.adapters.registry import select
from conformance.table.case import Case
from tests.support.framework_process import Answers, Request, answers
from tests.support.planted_frameworks import NO_FAULT

Record = Mapping[str, Any]


@pytest.fixture(scope="session")
def answers_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answers]:
    """Return what gives the answers of a group, such as `jax`."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return lambda group: answers(group, folder)


@pytest.fixture(scope="session")
def record_of(answers_of: Callable[[str], Answers]) -> Callable[..., Record]:
    """Return what gives the record of a request; it skips the test where a package is not installed."""

    def record(group: str, implementation: str, case: Case, fault: str = NO_FAULT) -> Record:
        if missing := select([implementation])[0].missing_packages():
            pytest.skip(f"not installed: {', '.join(missing)}")
        return answers_of(group).records[Request(implementation, case, fault)]

    return record
