"""Boxes and masks of vertebral bodies, drawn with any tool, as one list of boxes.

One module per format (`coco`, `voc`, `labelme`, `yolo`, `box_table`, `nifti`, `seg`); `read` finds
the files, `mask` cuts masks into boxes, `place` says what became of each box, and `collect` is all
of it in one call. The formats are described in docs/annotations.md.
"""
