"""Grading by fixed thresholds on the mean HU of trabecular bone.

P. J. Pickhardt et al., "Opportunistic screening for osteoporosis using abdominal computed
tomography scans obtained for other indications", Ann. Intern. Med. 158(8), 588-595, 2013,
https://doi.org/10.7326/0003-4819-158-8-201304160-00003: at L1, 160 HU is sensitive (about 90 %),
135 HU balanced and 110 HU specific (more than 90 %) for osteoporosis. The paper has no rule for
three classes; ours takes the sensitive threshold as the end of normal bone and the specific one as
the beginning of osteoporosis. 135 HU stands as a rule for osteoporosis alone.

A level or a patient is then judged as a detector's is, by the classes of its boxes
(`evaluate.patient_label`), not by their mean HU.
"""

import numpy as np

from dsnet.config.evaluate import Baseline
from dsnet.evaluate.matching import Floats
from dsnet.schemas import CLASSES


def three_classes(core_mean_hu: Floats, params: Baseline) -> Floats:
    """Return 1 for the class by the two outer thresholds and 0 for the others.

    Normal from `normal_hu` on, osteoporosis below `osteoporosis_hu`, osteopenia between.

    Parameters
    ----------
    core_mean_hu : float64 (n,)
    params : Baseline

    Returns
    -------
    float64 (n, 3)
        In the order of `schemas.CLASSES`. A rule knows no doubt: its probabilities are 0 and 1.
    """
    severity = (core_mean_hu < params.normal_hu).astype(np.int64)
    severity += core_mean_hu < params.osteoporosis_hu
    return np.eye(len(CLASSES))[severity]


def osteoporosis_alone(core_mean_hu: Floats, threshold_hu: float) -> Floats:
    """Return 1 for osteoporosis below the threshold, else for normal, as `three_classes` does."""
    severity = np.where(core_mean_hu < threshold_hu, len(CLASSES) - 1, 0)
    return np.eye(len(CLASSES))[severity]
