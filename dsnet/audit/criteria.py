"""What ``dsnet criteria`` prints."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from dsnet.config.cohort import Exclude
from dsnet.exclude.registry import criteria_table


def criteria_view(params: Exclude) -> Table:
    """Return every criterion with its threshold, reason and source."""
    title = "Exclusion criteria, in the order in which they count"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    for head in ("code", "criterion", "scope", "threshold", "reason", "source"):
        table.add_column(head, no_wrap=head in ("code", "criterion"))
    for one in criteria_table(params):
        name = one.slug if one.enabled else f"{one.slug} (off)"
        table.add_row(one.code, name, one.scope, one.threshold, one.reason, one.source)
    return table
