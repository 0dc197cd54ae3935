"""Criteria on the patient's history: section 3.1, items 3 and 4."""

from collections.abc import Callable

from dsnet.exclude.criterion import Case, Criterion, Finding, finding


def told_of(column: str) -> Callable[[Case], Finding]:
    """Return the predicate that holds on patients with a yes in `column` of ``clinical.csv``.

    A patient of whom it is not known is kept and counted, or excluded where the config says so
    (``unknown_history``).
    """

    def find(case: Case) -> Finding:
        files = case.files
        told = files["readable"] & files[column]
        unknown = files["readable"] & files[column].isna()
        tests = [(told, f"{column}: yes")]
        if case.params.unknown_history == "exclude":
            tests.append((unknown, f"{column}: unknown"))
        return finding(files, tests, unknown=unknown)

    find.__doc__ = f"""Hold on patients with a yes in the column {column} of ``clinical.csv``."""
    return find


def _criterion(slug: str, code: str, reason: str, item: int) -> Criterion:
    return Criterion(
        slug,
        code,
        "patient",
        reason,
        f"section 3.1, item {item}",
        told_of(slug),
        lambda p: f"unknown histories: {p.unknown_history}",
    )


CRITERIA = (
    _criterion("fracture_history", "E18", "The patient has a history of fractures.", 4),
    _criterion("spine_surgery", "E19", "The patient has had surgery of the spine.", 3),
    _criterion("tumour", "E20", "The patient has a primary or metastatic tumour.", 4),
    _criterion("bone_hyperplasia", "E21", "The patient has bone hyperplasia.", 4),
)
