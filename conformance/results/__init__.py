"""The results file: the types of its lines, and what writes and reads them."""

from conformance.results.file import (
    FAILING,
    NO_RESULTS,
    NO_SCRIPT,
    SCHEMA,
    UNJUDGED,
    ResultsError,
    Run,
    Writer,
    finite,
    has_script,
    header_of,
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
    "Record",
    "ResultsError",
    "Run",
    "Writer",
    "finite",
    "has_script",
    "header_of",
    "read",
    "without_collection",
]
