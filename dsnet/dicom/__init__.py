"""Reading DICOM: header, geometry, pixels, identifying values, and the table of PS3.15."""
