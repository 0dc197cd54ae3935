"""WHO classes for the boxes on included images (docs/interpretations.md#17 and #18)."""
