"""Results files of made-up nights, a few cells each, for the tests of the history and of what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import records

VERSIONS = {"torch": "2.13.0"}


def cell(case: str, outcome: str = "conforms", implementation: str = "torch", **more: Any) -> dict[str, Any]:
    """Return a cell whose one check, `output`, has its outcome; `margin`, `message` and `check` are that check's."""
    check = {"check": "output", "outcome": outcome, "margin": 0.25}
    check |= {key: more.pop(key) for key in ("check", "margin", "message") if key in more}
    names = {"case": case, "implementation": implementation, "device": "cpu", "outcome": outcome}
    more.setdefault("checks", [] if outcome in ("not_run", "unsupported") else [check])
    question = {"input_shape": [3], "units": [2], "dtype": "float32", "batch": 2}
    return {**names, "row": "r.yaml:4", "question": question, "seconds": 0.1, **more}


def started(night: int) -> str:
    return (datetime(2026, 1, 1, 3, tzinfo=UTC) + timedelta(days=night)).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(
    path: Path,
    cells: Sequence[Mapping[str, Any]],
    *,
    night: int = 0,
    versions: Mapping[str, str] = VERSIONS,
    complete: bool = True,
    announced: int | None = None,
) -> Path:
    """Write one night and return its path."""
    said = {"versions": versions, "settings": {}, "devices": ["cpu"], "threads": 1}
    return records.written(
        path,
        cells,
        header={
            "started": started(night),
            "distributions": {"numpy": "2.4.6"},
            "platform": {"system": "Linux"},
            "selection": {"tier": "nightly"},
            "cells": len(cells) if announced is None else announced,
        },
        implementations=[
            {"implementation": name, **said} for name in sorted({str(each["implementation"]) for each in cells})
        ],
        complete=True if complete else None,
    )
