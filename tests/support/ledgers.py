"""Ledgers of a few entries, for the tests of the ledger."""

from __future__ import annotations

from pathlib import Path

from conformance.ledger import Behaviour, load_ledger

GOOD = {
    "id": "keras-float64-products",
    "implementations": "[keras-*]",
    "when": "{dtype: float64, use_bias: true}",
    "instead": "{products_in: float32}",
    "kind": "bug",
    "why": "Keras computes products of float64 operands in float32.",
    "link": "https://github.com/keras-team/keras/issues/23704",
}


def ledger_of(*entries: dict[str, str]) -> str:
    """Return a ledger of entries whose fields are given as YAML: the first field is on line 3, column 5."""
    text = "description: Known.\ndivergences:\n"
    for entry in entries:
        lines = [f"{name}: {value}".rstrip() for name, value in entry.items()]
        text += "  - " + "\n    ".join(lines) + "\n"
    return text


def behaviours_of(*entries: dict[str, str]) -> tuple[Behaviour, ...]:
    Path("known.yaml").write_text(ledger_of(*entries), encoding="utf-8")
    return load_ledger([Path("known.yaml")])
