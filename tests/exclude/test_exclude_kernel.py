import pandas as pd
import pytest

from dsnet.exclude.criterion import classify

LISTED = {
    "bone": {
        "ge": ["BONE", "BONEPLUS", "Bone Plus", "EDGE", "ULTRA", "HD BONE"],
        "siemens": ["B60f", "B70f", "B80s", "H60s", "U90u", "Br59", "Br64f\\3", "Hr60", "Qr69"],
        "philips": ["D", "E", "YC", "YD"],
        "canon": ["FC30", "FC35", "FC81", "FC86"],
    },
    "other": {
        "ge": ["STANDARD", "STD+", "SOFT", "DETAIL", "LUNG", "CHEST"],
        "siemens": ["B30f", "B20s", "H31s", "Br38f\\3", "Br40d", "Qr40", "Bl57", "Bv36", "I31f"],
        "philips": ["A", "B", "C", "UB", "L"],
        "canon": ["FC01", "FC18", "FC26", "FC51"],
    },
    "unknown": {
        "ge": ["", "FOO", "BONES"],
        "siemens": ["B50s", "Br54", "S80s", "60"],
        "philips": ["YB", "XYZ"],
        "canon": ["FC43", "FC87", "30"],
        "other": ["BONE"],
        "unknown": ["B70f", ""],
    },
}
CASES = [
    (kind, vendor, kernel)
    for kind, vendors in LISTED.items()
    for vendor, kernels in vendors.items()
    for kernel in kernels
]


@pytest.mark.parametrize(("kind", "vendor", "kernel"), CASES)
def test_each_name_has_its_kind(kind: str, vendor: str, kernel: str) -> None:
    for name in (kernel, kernel.lower()):
        assert list(classify(pd.Series([vendor]), pd.Series([name]), {})) == [kind]


def test_the_config_adds_names_of_one_vendor() -> None:
    vendors = pd.Series(["ge", "philips", "ge"], index=[5, 6, 7])
    kinds = classify(vendors, pd.Series(["Foo", "FOO", "SOFT"], index=[5, 6, 7]), {"ge": ["foo"]})
    assert list(kinds) == ["bone", "unknown", "other"]
    assert list(kinds.index) == [5, 6, 7]
