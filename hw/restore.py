"""Restore a machine that a killed process left changed: `python -m hw.restore`.

For `ExecStopPost=` of a service, and for people. Whatever opens the board next does the same.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from common import command
from hw.errors import HardwareError
from hw.session.journal import STATE_DIR, Journal
from hw.session.session import restore_journal
from hw.sysfs import Sysfs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 with one sentence when something could not be put back.

    What is gone or offline is reported, and waits in the journal; that is no failure.
    """
    parser = argparse.ArgumentParser(
        "python -m hw.restore", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--journal", type=Path, help=f"folder of the journal (/{STATE_DIR})")
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    sysfs = Sysfs()
    journal = Journal.of_machine(sysfs, arguments.journal)
    try:
        if not journal.exists():
            print("nothing to restore")
            return 0
        journal.lock()
        try:
            count = restore_journal(sysfs, journal)
            waits = journal.exists()
        finally:
            journal.unlock()
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = f"restored {count} settings" if count or waits else "nothing to restore"
    print(f"{done}; the others wait in {journal.path}" if waits else done)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
