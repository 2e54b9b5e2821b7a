"""
Standalone scripts that show what a cell did, for upstream bug reports. A script needs its framework and NumPy alone.

`script` writes one from a cell's record and its question. `conformance.run.reproduce.recorded_cells` reads both from a
results file. This package imports no framework and runs nothing.
"""

from conformance.run.reproduce.symptom import NotReproducible
from conformance.run.reproduce.writer import script

__all__ = ["NotReproducible", "script"]
