"""`conformance triage`: drafts of ledger entries for failing cells."""
