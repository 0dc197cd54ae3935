"""The patient-level split into training, validation and test (reading 11), and its proof."""
