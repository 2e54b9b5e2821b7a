"""
Standalone scripts that show what a cell was seen to do, with its framework and NumPy alone, for upstream bug reports.

`script` writes one from a cell's record and the question it was asked; `conformance.run.reproduce.recorded_cells` finds
both again from a results file. No framework is imported here, and nothing is run.
"""

from conformance.run.reproduce.symptom import NotShown
from conformance.run.reproduce.writer import script

__all__ = ["NotShown", "script"]
