"""WHO classes for the boxes on included images (readings 17 and 18)."""
