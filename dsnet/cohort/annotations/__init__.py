"""Boxes and masks of vertebral bodies, annotated with any tool, as one list of boxes.

`read` recognises the files and reads them (`box_formats`, `mask_formats`), `mask_geometry` cuts
masks into boxes, and `collect` matches boxes with images and says what became of each. The formats
are described in docs/annotations.md.
"""
