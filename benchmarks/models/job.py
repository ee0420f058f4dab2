"""One row, made in a process that may be lost: python -m benchmarks.models.job SECTION NAME."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from benchmarks.models.result import Result


def main() -> None:
    section, name = sys.argv[1:]
    print(json.dumps(asdict(_row(section, name))))


def _row(section: str, name: str) -> Result:
    # Imported where it is used: one of them takes torch, which takes seconds.
    if section == "torch":
        from benchmarks.models import architecture_row

        return architecture_row.row(name)
    if section == "damage":
        from benchmarks.models.damage import row

        return row.row(name)
    from benchmarks.models import network_row

    return {"packages": network_row.package_row, "derived": network_row.derived_row}[section](name)


if __name__ == "__main__":
    main()
