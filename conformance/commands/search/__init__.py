"""
The search for new failures: random cases, driven towards large margins and towards implementations that disagree.

`strategies` draws rows, `oracle` runs them, `sign` identifies a failure, `loop` searches and shrinks, `output` prints
the result. Only `loop` and `strategies` import Hypothesis, when a search begins.
"""
