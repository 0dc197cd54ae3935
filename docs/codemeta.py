"""Write codemeta.json from CITATION.cff and pyproject.toml: `python docs/codemeta.py`."""

import json
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def codemeta() -> dict[str, Any]:
    """Return what CodeMeta 3 asks for, from the two files that people edit."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    paper = citation["preferred-citation"]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "description": citation["abstract"],
        "license": f"https://spdx.org/licenses/{citation['license']}",
        "author": [{"@type": "Organization", "name": one["name"]} for one in citation["authors"]],
        "programmingLanguage": {"@type": "ComputerLanguage", "name": "Python"},
        "runtimePlatform": f"Python {project['requires-python']}",
        "keywords": project["keywords"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "@id": f"https://doi.org/{paper['doi']}",
        },
    }


if __name__ == "__main__":
    text = json.dumps(codemeta(), indent=2) + "\n"
    (ROOT / "codemeta.json").write_text(text, encoding="utf-8")
