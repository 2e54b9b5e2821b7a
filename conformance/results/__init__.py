"""The results file: the types of its lines, its writer and its reader."""

from conformance.results.codec import finite, part_of, plain
from conformance.results.file import (
    FAILING,
    NO_RESULTS,
    NO_SCRIPT,
    UNJUDGED,
    ResultsError,
    Run,
    Writer,
    has_script,
    header_of,
    read,
    without_collection,
)
from conformance.results.record import OUTCOMES, SCHEMA, CellRecord, CheckRecord

__all__ = [
    "FAILING",
    "NO_RESULTS",
    "NO_SCRIPT",
    "OUTCOMES",
    "SCHEMA",
    "UNJUDGED",
    "CellRecord",
    "CheckRecord",
    "ResultsError",
    "Run",
    "Writer",
    "finite",
    "has_script",
    "header_of",
    "part_of",
    "plain",
    "read",
    "without_collection",
]
