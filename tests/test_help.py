"""The help of every command: it says what each option is, and comes before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

from tests.conftest import REPOSITORY

PARSERS = """import argparse, json, runpy, sys

class Seen(Exception):
    pass

def seen(parser, *_, **__):
    raise Seen(parser)

argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = seen
silent = {}
for name in sys.argv[1:]:
    sys.argv = [name]
    try:
        if name.endswith(".py"):
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__")
    except Seen as found:
        actions = found.args[0]._actions
        silent[name] = ["/".join(a.option_strings) or a.dest for a in actions if not a.help]
    except SystemExit as ended:
        silent[name] = [f"worked before it read its options ({ended})"]
print(json.dumps(silent))
"""


def commands() -> list[str]:
    """Everything that can be run, but for the parts of harnesses that only those start."""
    found = [
        path.relative_to(REPOSITORY)
        for package in ("agents", "benchmarks", "common", "envs", "hw", "partition")
        for path in (REPOSITORY / package).rglob("*.py")
        if "ArgumentParser(" in path.read_text()
        and 'if __name__ == "__main__":' in path.read_text()
    ]
    modules = (".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in found)
    return ["calibrate.py", "train.py", "deploy.py", "demo.py", *sorted(modules)]


def test_every_option_of_every_command_has_help():
    names = commands()
    assert "agents.freeze" in names
    if find_spec("atheris") is None:  # it has no release for the oldest Python
        names.remove("benchmarks.fuzz_wire")
    assert len(names) > 30
    result = subprocess.run(
        [sys.executable, "-c", PARSERS, *names],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    silent = json.loads(result.stdout.splitlines()[-1])
    assert set(silent) == set(names)
    assert {name: options for name, options in silent.items() if options} == {}
