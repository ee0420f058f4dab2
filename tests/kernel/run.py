"""Boots the machine and runs pytest in it; `python -m tests.kernel.run --help`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from tests.kernel.errors import KernelTestError
from tests.kernel.prepare import CACHE, prepare
from tests.kernel.vm import qemu_command, run_job

REPOSITORY = CACHE.parent
LOG = CACHE / "boot.log"
TESTS = "tests/kernel/guest"


def main() -> int:
    """Run the tests; return pytest's exit status, or 2 if the machine is at fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.run", description=__doc__)
    parser.add_argument("--shell", action="store_true", help="root shell in the machine instead")
    parser.add_argument("--limit", type=float, default=600, help="seconds to wait (%(default)s)")
    parser.add_argument("pytest", nargs="*", help=f"arguments of pytest, after -- ({TESTS})")
    arguments = parser.parse_args()
    # Leave by an exception, so that QEMU is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    LOG.unlink(missing_ok=True)
    try:
        boot = prepare()
        command = qemu_command(
            boot, job(arguments), needed_paths(), LOG, interactive=arguments.shell
        )
        return run_job(command, limit_s=None if arguments.shell else arguments.limit)
    except KernelTestError as error:
        print_log_tail()
        print("error:", error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def print_log_tail() -> None:
    """Print the end of the kernel's log, if the machine got that far."""
    if LOG.exists():
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        print(f"the end of {LOG}:", *tail, sep="\n", file=sys.stderr)


def job(arguments: argparse.Namespace) -> str:
    """Write the shell script that runs in the guest."""
    variables = {
        "HOME": "/tmp",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        # Plugins are slow to load here; the one that pyproject.toml sets up is named below.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TERM": "linux",
    }
    clean = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    lines = [f"cd {shlex.quote(str(REPOSITORY))} || exit 1"]
    if arguments.shell:
        lines += ["stty sane", f"exec {shlex.join([*clean, '/bin/sh', '-i'])}"]
    else:
        pytest = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
        # The conftest of all other tests imports what is slow here and not needed.
        pytest.append(f"--confcutdir={TESTS}")
        pytest.append(f"--color={'yes' if sys.stdout.isatty() else 'no'}")
        command = shlex.join([*clean, *pytest, *(arguments.pytest or [TESTS])])
        # Through a pipe: on a terminal, pytest would write lines over lines.
        lines += ["stty -onlcr", f"{{ {command} 2>&1; echo $? >/run/status; }} | cat"]
        lines.append("exit $(cat /run/status)")
    return "\n".join([*lines, ""])


def needed_paths() -> list[Path]:
    """List the folders that must be visible in the guest."""
    return [REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]


if __name__ == "__main__":
    raise SystemExit(main())
