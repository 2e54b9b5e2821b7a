"""
Results files -> one self-contained HTML page: no network, no second file.

The page has only what is in the results files. This package imports `conformance.results` and no other room; outcomes
are shown as the files have them.
"""

from conformance.report.page import render, write

__all__ = ["render", "write"]
