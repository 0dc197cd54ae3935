r"""Which reconstruction kernels are made for bone.

ConvolutionKernel (0018,1210) is free text that each vendor fills with its own names: DICOM defines
no codes. The table below follows those names:

- GE: STANDARD, SOFT, DETAIL, CHEST and LUNG beside BONE, BONEPLUS, EDGE and ULTRA.
- Siemens: a letter for the body part, up to two more for the variant, and a number for the
  sharpness, as in B30f, H60s, Br40 or Qr59. The operating instructions of the SOMATOM Sensation
  (chapter Spine) name B30 and B40 for soft tissue and B60 to B80 for sharp edges, with B50 between
  them; on newer scanners 59 and more are the bone kernels. A second letter l or v means lung or
  vessels, at any number.
- Philips: A, B, C and their relatives are smooth, L is for the lung; D, E, YC and YD are sharp.
- Canon and Toshiba: FC01 to FC29 are for soft tissue and brain, FC50 to FC59 for the lung; FC30 to
  FC39 and FC80 to FC86 are for bone.

What the table does not list is neither bone nor soft but unknown: somebody should look.
"""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from dsnet.config.cohort import Vendor

_BONE = {
    "ge": r"(HD ?)?(BONE ?(PLUS|\+)?|EDGE|ULTRA)",
    "siemens": r"([BHIJDQU]|[BHQUI][RFCP])(59|[6-9]\d)[A-Z]?(\d)?",
    "philips": r"D|E|YC|YD",
    "canon": r"FC(3\d|8[0-6])",
}
_OTHER = {
    "ge": r"(HD ?)?(STANDARD|STD|SOFT|DETAIL|CHEST|LUNG)( ?(PLUS|\+))?",
    "siemens": r"([BHIJDQU]|[BHQUI][RFCP])[1-4]\d[A-Z]?(\d)?|[BQI][LV]\d\d[A-Z]?(\d)?",
    "philips": r"A|B|C|L|U[ABC]|X?C[ABC]",
    "canon": r"FC([0-2]\d|5\d)",
}


def classify(
    vendors: "pd.Series[str]",
    kernels: "pd.Series[str]",
    more_bone: Mapping[Vendor, Sequence[str]],
) -> "pd.Series[str]":
    r"""Return ``bone``, ``other`` or ``unknown`` for each file.

    Parameters
    ----------
    vendors, kernels : Series of str
        Of `dsnet.schemas.INDEX`; of a kernel with several values (``Br64f\3``) the first counts.
    more_bone : mapping of str to sequence of str
        Names of bone kernels by vendor that the config adds.
    """
    added = {(vendor, _plain(name)) for vendor, names in more_bone.items() for name in names}
    pairs = list(zip(vendors, kernels, strict=True))
    kinds = {}
    for vendor, kernel in set(pairs):
        name = _plain(kernel)
        kinds[vendor, kernel] = "bone" if (vendor, name) in added else _listed(vendor, name)
    return pd.Series([kinds[pair] for pair in pairs], index=kernels.index, dtype=str)


def _plain(kernel: str) -> str:
    return kernel.partition("\\")[0].strip().upper()


def _listed(vendor: str, name: str) -> str:
    for kind, table in (("bone", _BONE), ("other", _OTHER)):
        if vendor in table and re.fullmatch(table[vendor], name, re.ASCII):
            return kind
    return "unknown"
