"""
Hold every framework's dense layer to one rule: shapes, parameter counts, values and gradients.

Importing this package imports no framework and does no work.
"""

__version__ = "0.1.0"
