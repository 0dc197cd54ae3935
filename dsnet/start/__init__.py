"""What a user does first: ``dsnet init`` lays out a cohort, ``dsnet check`` finds its faults."""
