"""What the program did not foresee in files: whether it recurs, and whether it is too much."""

from importlib.metadata import version

import pandas as pd

from dsnet import __version__
from dsnet.errors import UserError

_NAMED = 3
"""Files that a sentence names."""


def recurring(index: pd.DataFrame) -> list[str]:
    """Return a sentence for each exception that several files raised in the same frame.

    One odd file raises an exception of its own; the same one from several files is more likely a
    fault of the program.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    """
    unexpected = index[index["fault"] == "unexpected_content"]
    sentences = []
    for (name, frame), files in unexpected.groupby(["fault_class", "fault_frame"]):
        if len(files) > 1:
            named = ", ".join(files["file_key"].iloc[:_NAMED])
            more = ", ..." if len(files) > _NAMED else ""
            sentences.append(
                f"{len(files)} files ({named}{more}) raised {name} in {frame}: this looks like a "
                f"fault of the program. Report class and frame with the versions "
                f"(dsnet {__version__}, pydicom {version('pydicom')}), never the files: they "
                f"hold patients' data."
            )
    return sentences


def check_unexpected(index: pd.DataFrame, most: float) -> None:
    """Stop if too many files have unexpected content; called when all rows are written.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    most : float
        The config key ``ingest.max_unexpected``, a share of the files.

    Raises
    ------
    UserError
    """
    unexpected = index[index["fault"] == "unexpected_content"]
    if len(unexpected) <= most * len(index):
        return
    kinds = unexpected["fault_class"] + " in " + unexpected["fault_frame"]
    most_often = kinds.value_counts()
    raise UserError(
        "index.parquet",
        expected=f"at most {most:.2%} of the files with unexpected content",
        came=f"{len(unexpected)} of {len(index)}, most often "
        f"{most_often.index[0]} ({most_often.iloc[0]} files)",
        remedy="look at the rows with the fault unexpected_content, report the exception, and take "
        "the files out of dicom/ or raise ingest.max_unexpected",
    )
