"""
Looks for new trouble: cases that nobody chose, driven towards large margins and towards implementations that disagree.

`space` says which rows there are, `asking` asks them, `likeness` says what was seen and whether the ledger knows it,
`territory` where that is all there is to see, `loop` searches and shrinks, `told` says what was found. Hypothesis
searches and shrinks; what is judged is the suite's.
"""

from conformance.search.loop import Find, Found, Search, search

__all__ = ["Find", "Found", "Search", "search"]
