"""Figures from the files of the steps before: PNG, SVG and a caption for each."""
