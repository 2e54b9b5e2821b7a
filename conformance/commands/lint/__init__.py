"""`conformance lint`: every fault of rows and of the ledger."""
