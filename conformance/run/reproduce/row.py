"""The row of the table for a case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.table.case import Case


def row_of(case: Case) -> str:
    """Return a row of the table for the case, in the part of YAML that is JSON."""
    row = row_fields(case.question)
    if case.expect.nonfinite:
        row["expect"] = {"nonfinite": True}
    if case.checks is not None:
        row["checks"] = list(case.checks)
    return json.dumps(row).replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")


def row_fields(question: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields of a row for the canonical form of a case."""
    row: dict[str, object] = {key: question[key] for key in ("input_shape", "units", "activation", "use_bias", "dtype")}
    optional = ("batch", "layout", "feed_shape", "input_dtype", "environment")
    row |= {key: question[key] for key in optional if key in question}
    # A default has no effect, and is a fault in a row that may not have the field.
    for name, default in (("feed_shape", None), ("layout", "contiguous")):
        if row.get(name, default) == default:
            row.pop(name, None)
    arrays = question.get("data")
    if question["error"]:
        row["expect"] = {"error": True}
    elif arrays is None:
        row["values"] = [question["lane"]]
    else:
        data = {"x": arrays["x"], "kernel": arrays["kernels"], "bias": arrays["biases"], "dy": arrays["dy"]}
        if len(question["units"]) == 1:
            data |= {key: data[key][0] for key in ("kernel", "bias")}
        row["data"] = {key: value for key, value in data.items() if value is not None}
    return row
