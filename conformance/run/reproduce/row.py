"""The row of the table that asks a question again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.table.case import Case


def row_of(case: Case) -> str:
    """Return a row of the table that asks the case, in the part of YAML that is JSON."""
    row = row_fields(case.question)
    if case.expect.nonfinite:
        row["expect"] = {"nonfinite": True}
    return json.dumps(row).replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")


def row_fields(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that asks a question, given in its canonical form."""
    row: dict[str, Any] = {key: asked[key] for key in ("input_shape", "units", "activation", "use_bias", "dtype")}
    row |= {key: asked[key] for key in ("batch", "layout", "feed_shape", "input_dtype", "environment") if key in asked}
    # What a row says though it is so anyway has no effect, and is a fault where nothing of its kind is asked.
    for name, default in (("feed_shape", None), ("layout", "contiguous")):
        if row.get(name, default) == default:
            row.pop(name, None)
    given = asked.get("data")
    if asked["error"]:
        row["expect"] = {"error": True}
    elif given is None:
        row["values"] = [asked["lane"]]
    else:
        data = {"x": given["x"], "kernel": given["kernels"], "bias": given["biases"], "dy": given["dy"]}
        if len(asked["units"]) == 1:
            data |= {key: data[key][0] for key in ("kernel", "bias")}
        row["data"] = {key: value for key, value in data.items() if value is not None}
    return row
