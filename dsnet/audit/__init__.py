"""The ledger, read back: who was excluded, and why (``dsnet audit``)."""
