"""Bring the tables of settings in docs/ up to date: `python scripts/settings.py`. A test fails where they are not.

A table stands between `<!-- settings: TASK -->` (or `every task`) and `<!-- end of settings -->`, one of a method's own
options after `<!-- options: METHOD -->`. What trainings of methods have in common stands in the table of SDIC alone.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.methods import METHODS
from sdic.settings import as_table
from sdic.training.config import TrainingConfig
from sdic.training.task import tasks
from sdic.training.tasks.inverter_settings import InverterConfig

ROOT = Path(__file__).resolve().parent.parent
WHOLE = "sdic"
TABLE = re.compile(r"(<!-- (?:settings|options): (.+?) -->\n).*?(<!-- end of settings -->)", re.S)


def current(text: str) -> str:
    """A page with its tables as they should be."""

    def table(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if "options" in begin:
            return f"{begin}{as_table(METHODS[name].Options())}\n{end}"
        base = TrainingConfig()
        if name == "every task":
            return f"{begin}{as_table(base)}\n{end}"
        config = tasks()[name].config()
        if isinstance(config, InverterConfig) and name != WHOLE:
            base = tasks()[WHOLE].config()
        rows = as_table(config, base)
        return f"{begin}{rows}\n{end}"

    return TABLE.sub(table, text)


if __name__ == "__main__":
    for page in sorted((ROOT / "docs").glob("*.md")):
        before = page.read_text(encoding="utf-8")
        if before != (after := current(before)):
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(ROOT))
