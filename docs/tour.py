"""Write docs/tour.md, a terminal session on the finished demo: `make tour`, after `make table1`."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).with_name("tour.md")
MOST_LINES = 40

STOPS = {
    "What was measured": "dsnet show",
    "Who was excluded, step by step": "dsnet audit",
    "Why this patient": "dsnet audit --patient {patient}",
    "What a criterion looks at": "dsnet audit --criterion metal_artefact",
    "All faults of a cohort at once, before anything runs": "dsnet check",
    "A study without annotations and DXA": (
        "dsnet predict results/models/resnet50/ds/seed0 {study} --output data/private/tour"
    ),
    "Does anything identify a patient": "dsnet phi-check",
}


def main() -> None:
    """Run the commands and write what they print."""
    excluded = pd.read_csv("results/cohort/exclusions.csv")
    patient = excluded.loc[excluded["criterion"] == "metal_artefact", "patient_key"].iloc[0]
    study = min(path for path in Path("data/phantom/dicom").iterdir() if path.is_dir())
    lines = [
        "# Five minutes on the demo",
        "",
        "A terminal session, recorded by `make tour` after `make table1`. All data are synthetic.",
    ]
    for title, command in STOPS.items():
        words = command.format(patient=patient, study=study)
        lines += ["", f"## {title}", "", "```console", f"$ {words}", *printed(words), "```"]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def printed(command: str) -> list[str]:
    """Return the lines that a command prints, without blanks at their ends."""
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command.split(),
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... ({len(lines) - MOST_LINES} more lines)"]
    return lines


if __name__ == "__main__":
    main()
