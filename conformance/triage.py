"""
Drafts ledger entries from a run, for a person to complete: what was seen is filled in, why and link are left blank.

Cells that show the same thing share an entry. A draft is not an entry: the loader refuses a blank why. A cell that
timed out gets no draft, since a limit of time is not a behaviour: the loader knows no entry for it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML

from conformance.results import FAILING, Run

Observation = tuple[str, ...]


def drafts(run: Run) -> str:
    """Return YAML with one entry for each thing red cells of a run were seen to do, or a comment that none is red."""
    grouped: dict[str, dict[str, Any]] = {}
    for cell in run.cells:
        if cell["outcome"] in FAILING:
            for key, observed, checks in _observations(cell):
                entry = grouped.setdefault(
                    key, {"implementations": [], "cases": [], "checks": [], "kind": "bug", "observed": observed}
                )
                _add(entry["implementations"], cell["implementation"])
                _add(entry["cases"], cell["case"])
                for check in checks:
                    _add(entry["checks"], check)
    if not grouped:
        return "# nothing to triage: no cell violates or crashed\n"
    entries = []
    for entry in grouped.values():
        if not entry["checks"]:
            del entry["checks"]
        entries.append({**entry, "why": "", "link": ""})
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump({"divergences": entries}, stream)
    return stream.getvalue()


def _observations(cell: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Yield a key that equal observations share, the observation, and the checks it was made by."""
    crash = cell.get("crash")
    implementation = cell["implementation"]
    observed: dict[str, Any]
    if crash:
        if cell["outcome"] != "timed_out":
            observed = {"crash": crash["reason"]}
            yield f"{implementation} {observed}", observed, []
        return
    for check in cell["checks"]:
        if check["outcome"] != "violates":
            continue
        raised = check.get("raised")
        if raised:
            message = str(raised["message"]).strip().split("\n", 1)[0][:100]
            observed = {"raises": {"stage": raised.get("stage", "call"), "type": raised["type"], "message": message}}
        elif float(check.get("margin") or 0.0) > 1.0:
            observed = {"margin": _around(float(check["margin"]))}
        elif "observed" in check:
            observed = {"equals": check["observed"]}
        else:
            observed = {"message": str(check.get("message", ""))[:100]}
        yield f"{implementation} {observed}", observed, [check["check"]]


def _around(margin: float) -> list[float | str]:
    """Return the power of ten below a margin and the one above, so that cells that are alike share an entry."""
    if not math.isfinite(margin):
        return ["inf", "inf"]
    power = math.floor(math.log10(margin))
    return [max(10.0**power, math.nextafter(1.0, 2.0)), 10.0 ** (power + 1)]


def _add(listed: list[str], name: str) -> None:
    if name not in listed:
        listed.append(name)
