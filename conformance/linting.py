"""
Everything `conformance lint` looks at: the rows, the ledger, and whether each entry of the ledger can match a cell.

The scope of the ledger is checked over the full table and registry, so that what is installed here plays no part.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from conformance.adapters.registry import registered
from conformance.case import Case
from conformance.document import DocumentError, Fault
from conformance.ledger import lint_scope, load_ledger
from conformance.suite import checks_asked
from conformance.table import default_cases, lint, load

#: Devices a ledger entry may be about.
DEVICES = ("cpu", "gpu")


def faults_of(cases: Sequence[str]) -> tuple[Fault, ...]:
    """
    Return all faults of the files or folders named, or of the default table and its ledger where none is.

    The ledger is checked with the default table alone: it speaks of no other.
    """
    paths = [Path(each) for each in cases] or [default_cases()]
    faults = list(lint(paths))
    if not cases:
        try:
            entries = load_ledger(paths)
        except DocumentError as error:
            return tuple(sorted([*faults, *error.faults]))
        if not faults:
            faults += lint_scope(entries, list(_cells(load(paths).cases)))
    return tuple(sorted(faults))


def _cells(cases: Sequence[Case]) -> list[tuple[str, str, str, Sequence[str]]]:
    """Return (implementation, device, case id, checks) of every cell there could be."""
    return [
        (name, device, case.id, checks_asked(case))
        for name in registered()
        for device in DEVICES
        for case in cases
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in case.implementations)
    ]
