"""What it costs to start each step: CPU seconds and memory of its imports, and if torch is one."""

import json
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
CODE = """
import json, resource, sys
import {module}
used = resource.getrusage(resource.RUSAGE_SELF)
facts = [used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, "torch" in sys.modules]
print(json.dumps(facts))
"""


def modules() -> list[str]:
    """Return the modules that rules run."""
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("workflow/rules/*.smk"))
    return sorted({f"dsnet.{name}" for name in re.findall(r'step\(\s*"([\w.]+)[" ]', rules)})


def main() -> None:
    """Print the table, the least of three starts each."""
    table = Table("step", "CPU, s", "memory, MB", "torch")
    for module in modules():
        code = CODE.format(module=module)
        starts = [
            json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT))
            for _ in range(3)
        ]
        cpu_s, memory_mb, torch = min(starts)
        table.add_row(module, f"{cpu_s:.1f}", f"{memory_mb:.0f}", "yes" if torch else "no")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
