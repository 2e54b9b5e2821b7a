"""
The search for new trouble: cases nobody chose, driven towards large margins and towards implementations that disagree.

`strategies` says which rows there are, `oracle` runs and judges them, `sign` tells one trouble from another, `loop`
searches and shrinks, `output` prints what was found. Hypothesis is imported by `loop` alone, when a search begins.
"""
