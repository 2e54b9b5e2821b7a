"""The results file: the types of its lines, and what writes and reads them."""

from conformance.results.file import (
    FAILING,
    NO_RESULTS,
    NO_SCRIPT,
    SCHEMA,
    UNJUDGED,
    OnDisk,
    ResultsError,
    Run,
    Writer,
    finite,
    has_script,
    header_of,
    opened,
    read,
    without_collection,
)
from conformance.results.record import OUTCOMES, Record

__all__ = [
    "FAILING",
    "NO_RESULTS",
    "NO_SCRIPT",
    "OUTCOMES",
    "SCHEMA",
    "UNJUDGED",
    "OnDisk",
    "Record",
    "ResultsError",
    "Run",
    "Writer",
    "finite",
    "has_script",
    "header_of",
    "opened",
    "read",
    "without_collection",
]
