"""What each column of each table means."""

import re

from dsnet.evaluate.metrics import DEFINITIONS

LEDGER = {
    "file_key": "pseudonym of the file",
    "image_key": "pseudonym of the image (its SOP instance UID); copies of it share one",
    "patient_key": "pseudonym of the patient; blank where no header could be read",
    "series_key": "pseudonym of the series",
    "status": "included or excluded",
    "criterion": "the first criterion, in their order, that excludes the file",
    "code": "its code, which stays when others come and go",
    "reason": "what the criterion says, in a sentence",
    "evidence": "what was found on this file; of an included one, why it is flagged for review",
    "threshold": "the limit in force",
    "decided_by": "rule, or the row of review.csv that changed the outcome",
    "all_criteria": "every criterion that the file fails, in order; ? marks a flag for review",
}
"""Of ``cohort/ledger.csv``, one row per file found."""

EXCLUSIONS = {
    "patient_key": "pseudonym of the patient",
    "status": "included if at least one image is",
    "n_files": "files found of this patient",
    "n_included": "of these, included",
    "criterion": "the first criterion on the patient, else the one that took the last candidate "
    "slice (interpretation 22)",
    "reason": "what that criterion says",
}
"""Of ``cohort/exclusions.csv``, one row per patient."""

_RESULTS = {
    "method": "detector around the attention module",
    "backbone": "network that makes the feature maps",
    "attention": "channel attention: none, or the module of that name (readings 1 to 6)",
    "seeds": "trainings, of which the mean is shown",
    "test_patients": "patients judged on",
    "test_images": "their images",
    "macro_precision": DEFINITIONS["paper_map"],
    "fps": "images a second, batch 1, pre- and post-processing included (interpretation 16)",
    "ms_per_image": "median milliseconds an image (interpretation 16)",
    "fps_to_none": "speed as a share of the same backbone's without attention, in the same run",
    "ms_q1": "first quartile of the milliseconds an image",
    "ms_q3": "third quartile of the milliseconds an image",
    "parameters_m": "weights in millions, trained or frozen",
    "parameters_attention_m": "of these, the attention modules'",
    "above_chance": "whether map lies above the 97.5 % quantile of permuted classes",
    "device": "what the speed was measured on",
    "threads": "threads used for it",
    "size_px": "edge of the image shown to the detector",
    "data": "the cohort, and whether it is synthetic",
}

_PAPER = re.compile(r"paper_(.+)")
_SPREAD = re.compile(r"(.+)_seed_sd")


def meaning(head: str) -> str:
    """Return what a column of a table of results means; "" where nobody has said.

    Examples
    --------
    >>> meaning("paper_fps")
    'what the paper reports as fps, on its own data'
    """
    if head in _RESULTS:
        return _RESULTS[head]
    if spread := _SPREAD.fullmatch(head):
        return f"standard deviation of {spread[1]} over the seeds"
    if paper := _PAPER.fullmatch(head):
        return f"what the paper reports as {paper[1]}, on its own data"
    return DEFINITIONS.get(head, "")
