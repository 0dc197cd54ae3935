"""Included slices as DICOM that identifies nobody: PS3.15 Annex E."""
