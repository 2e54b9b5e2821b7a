"""
Results files -> one HTML page that needs nothing else: no network and no second file.

Knows `conformance.results` alone. It never sees a case, an adapter or the suite: what it cannot read in a results file
it cannot show, and it judges nothing.
"""

from conformance.report.page import render, write

__all__ = ["render", "write"]
