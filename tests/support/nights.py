"""Results files of made-up nights, a few cells each, for the tests of the history and of what is published."""

from __future__ import annotations

import json
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


GOOD = [cell("a"), cell("b", "diverges"), cell("a", implementation="jax")]
BAD = [cell("a", "violates", message="off"), cell("b", "diverges"), cell("a", implementation="jax")]
DEAD = [cell("a", "crashed"), cell("b", "timed_out"), cell("a", "violates", "jax")]


def night(
    tmp_path: Path, cells: Sequence[dict[str, Any]], number: int, environment: str = "pinned", **more: Any
) -> Path:
    return written(tmp_path / "nights" / environment / "results.jsonl", cells, night=number, **more)


def published(site: Path, environment: str = "pinned") -> dict[str, bytes]:
    """Return everything a visitor sees of an environment; what is set aside and the columns of the engine are not."""
    folder = site / environment
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    names = {each.relative_to(folder).as_posix(): each for each in files}
    unseen = ("aside/", "history/.cache/", "latest.json")
    return {name: each.read_bytes() for name, each in names.items() if not name.startswith(unseen)}


def pointer(site: Path, environment: str = "pinned") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site / environment / "latest.json").read_text(encoding="utf-8"))
    return found
