"""
Looks for new trouble: cases that nobody chose, driven towards large margins and towards implementations that disagree.

`space` says which rows there are, `asking` asks them under the ledger's behaviours, `sign` tells one trouble from
another, `loop` searches and shrinks, `told` says what was found. Hypothesis searches and shrinks; the suite judges.
"""

from conformance.commands.search.loop import Find, Found, Search, search

__all__ = ["Find", "Found", "Search", "search"]
