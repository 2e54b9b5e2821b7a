"""The ledger: declared behaviours of implementations, and what each step of a question should answer under them."""

from conformance.ledger.behaviour import Behaviour, Instead, Refusal
from conformance.ledger.loader import LedgerError, load_ledger

__all__ = ["Behaviour", "Instead", "LedgerError", "Refusal", "load_ledger"]
