"""The patient-level split into training, validation and test (interpretation 11), and its proof."""
