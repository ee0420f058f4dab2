"""Launcher of programs that see a fake kernel: each on its own, or by a warm parent that forks.

python -m benchmarks.soak.launcher cold SOCKET ROOT deploy|restore [ARGUMENT ..]
python -m benchmarks.soak.launcher warm

A warm parent has imported everything. It reads one line of JSON per start, {"socket", "root",
"program", "arguments", "output", "errors", "environment"}, and answers {"pid"}; when that process
has ended, {"pid", "code"}. `cold` and the names of the standard library are all that is loaded
before the program itself, so that signals come while it imports. What processor time was used
before the program's own first line is left in the file ROOT.begun.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = {"deploy": ("deploy", "hw.boards.registry"), "restore": ("hw.restore", "hw.restore")}
"""The module that is run, and the one in which it looks for `Sysfs`."""


class _SwapSysfs:
    """An import hook that gives a module another `Sysfs` as soon as it has been loaded."""

    def __init__(self, module: str, address: str, root: str) -> None:
        self._module, self._address, self._root = module, address, root

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_swap(module: ModuleType) -> None:
            load(module)
            swap_sysfs(module, self._address, self._root)

        spec.loader.exec_module = load_and_swap
        return spec


def swap_sysfs(module: ModuleType, address: str, root: str) -> None:
    """Let a module's programs see the fake kernel instead of this machine's."""
    from benchmarks.soak.remote import SocketSysfs

    module.Sysfs = lambda *_: SocketSysfs(address, Path(root))


def start_cold(address: str, root: str, program: str, *arguments: str) -> None:
    """Become a program, as if it had been started by its name."""
    patched = PROGRAMS[program][1]
    _leave_mark(root)
    if patched == PROGRAMS[program][0]:
        swap_sysfs(importlib.import_module(patched), address, root)
    else:
        sys.meta_path.insert(0, _SwapSysfs(patched, address, root))
    _run(program, arguments)


def _run(program: str, arguments: Sequence[str]) -> None:
    """Run a program's file as Python does, or a module whose `Sysfs` was swapped."""
    name, patched = PROGRAMS[program]
    script = str(REPOSITORY / f"{name.replace('.', '/')}.py")
    sys.argv = [script, *arguments]
    if name == patched:
        sys.exit(sys.modules[name].main())
    runpy.run_path(script, run_name="__main__")


def _leave_mark(root: str) -> None:
    Path(f"{root}.begun").write_text(str(time.process_time()))


def serve_warm() -> None:
    """Fork on request until no more requests come, then end what is left."""
    for pair in PROGRAMS.values():
        for name in pair:
            importlib.import_module(name)
    children: dict[int, int] = {}  # descriptor -> process
    requests = os.fdopen(0, "rb", buffering=0)  # select does not see what was read ahead
    print(json.dumps({"pid": os.getpid()}), flush=True)
    while True:
        ready, _, _ = select.select([requests, *children], [], [])
        for source in ready:
            if source is not requests:
                pid = children.pop(source)
                os.close(source)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                print(json.dumps({"pid": pid, "code": code}), flush=True)
                continue
            line = requests.readline()
            if not line:
                for pid in children.values():
                    os.kill(pid, signal.SIGKILL)
                return
            pid = os.fork()
            if pid == 0:
                _become(**json.loads(line))
            children[os.pidfd_open(pid)] = pid
            print(json.dumps({"pid": pid}), flush=True)


def _become(
    socket: str,
    root: str,
    program: str,
    arguments: list[str],
    output: str,
    errors: str,
    environment: dict[str, str],
) -> None:
    """Run a program in this forked child; does not return."""
    import atexit

    code = 1
    try:
        for path, descriptor in ((os.devnull, 0), (output, 1), (errors, 2)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
        os.environ.update(environment)
        _leave_mark(root)
        swap_sysfs(sys.modules[PROGRAMS[program][1]], socket, root)
        _run(program, arguments)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


def _hear_signals() -> None:
    """Let signals do what they usually do, though nohup or a shell had them ignored."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    _hear_signals()
    kind, *rest = sys.argv[1:]
    if kind == "warm":
        serve_warm()
    else:
        start_cold(*rest)
