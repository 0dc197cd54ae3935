"""Boxes and masks of vertebral bodies, annotated with any tool, as one list of boxes.

`read` recognises the files and reads them (`box_formats`, `mask_formats`), `mask_geometry` cuts
masks into boxes, `image_files` looks images up, `annotation` knows what a body can be, and
`collect` says what became of each annotation. The formats are described in docs/annotations.md.
"""
