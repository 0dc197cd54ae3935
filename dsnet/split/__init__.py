"""The patient-level split into training, validation and test, and its proof.

docs/interpretations.md#11
"""
