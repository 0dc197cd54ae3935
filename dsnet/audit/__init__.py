"""The ledger, read back: who was left out, and why (``dsnet audit``)."""
