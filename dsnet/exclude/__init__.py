"""Exclusion criteria, and the ledger that says of every file why it is in or out."""
