"""`conformance triage`: what a red cell is near, and a draft of a ledger entry."""
