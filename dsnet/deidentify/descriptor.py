"""Clean Descriptors (PS3.15 E.3.5): of a description, the words that cannot be a name stay."""

import re

_LISTED = """
abdomen abdominal additional adult axial axiale body bone bones cervical chest contrast cor
coronal cortical cspine ct cta dual energy head helical iv kernel knochen l l1 l2 l3 l4 l5
lendenwirbelsaeule lspine lumbar lumbosacral lws medium mpr native neck non noncontrast o
osteo pelvis plain post pre recon reconstruction routine s1 sacrum sag sagittal scan scout
series sharp soft spine spiral standard t10 t11 t12 thin thoracic thorax tissue topogram
trauma tspine unenhanced vertebra vertebral volume w with without wo
"""
_WORDS = frozenset(_LISTED.split())
_WORD = re.compile(r"[^\W\d_][^\W_]*|(?<![\w.])\d{1,2}\.\d(?![\w.])|(?<![\w.])\d{1,2}(?= ?mm\b)")
"""A word, or a thickness; days and months are written otherwise."""


def clean(text: str) -> str:
    """Return the listed words of `text`, and thicknesses, in their order.

    Examples
    --------
    >>> clean("CT LUMBAR SPINE Braskacker 506445 2.5 mm")
    'CT LUMBAR SPINE 2.5'
    """
    words = [word for word in _WORD.findall(text) if word[0].isdigit() or word.lower() in _WORDS]
    return " ".join(words)[:64].strip()
