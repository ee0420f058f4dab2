"""One row, made in a process that may be lost: python -m benchmarks.models.job SECTION NAME."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from benchmarks.models import network_row
from benchmarks.models.damage import row as damage_row
from benchmarks.models.result import Result


def main() -> None:
    section, name = sys.argv[1:]
    print(json.dumps(asdict(_row(section, name))))


def _row(section: str, name: str) -> Result:
    makers = {
        "packages": network_row.package_row,
        "derived": network_row.derived_row,
        damage_row.SECTION: damage_row.row,
    }
    return makers[section](name)


if __name__ == "__main__":
    main()
