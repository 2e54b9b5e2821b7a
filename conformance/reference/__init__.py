"""What is right: the exact answer to a draw, with the error that each element of a right answer may have."""

from conformance.reference.answer import Reference, answer
from conformance.reference.deviation import Deviation

__all__ = ["Deviation", "Reference", "answer"]
