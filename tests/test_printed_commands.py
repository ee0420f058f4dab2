"""Commands, files and links that pages, Makefile and messages of the code name exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGES = sorted(
    [
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
        *(path for path in (REPOSITORY / "docs").iterdir() if path.is_file()),
        *(REPOSITORY / "results").glob("*.md"),
        *(REPOSITORY / "results").glob("*.json"),
    ]
)
MARKDOWN = [path for path in PAGES if path.suffix == ".md"]
ROOMS = ("common", "hw", "partition", "envs", "agents", "benchmarks")
CODE = sorted(
    [
        *(path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")),
        *REPOSITORY.glob("*.py"),
    ]
)
COMMAND = re.compile(
    r"(?:python3?|\)/python) -m\s+([\w.]*\w)|(?<![\w/.-])(calibrate|train|deploy|demo)\.py\b"
)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
OTHER_PROGRAMS = ("pytest", "venv", "pip", "onnxruntime")
OTHER_FLAGS = {"--network": "docker run", "--head": "ray start"}
"""Flags in running text that belong to other programs."""
NEEDS = {
    "benchmarks.fuzz_wire": "atheris",
    "benchmarks.placement.compare": "matplotlib",
    "benchmarks.placement_run": "ray",
    "partition.placement.run": "ray",
    "partition.train_attention": "torch",
    "train.py": "torch",
}
"""Packages of extras without which a command does not get as far as its help."""
FOLDERS = "|".join((*ROOMS, "docs", "results", "tests"))
SUFFIXES = "py|md|toml|png|csv|json|rules|service"
FILE = re.compile(rf"(?<![\w/.])(?:{FOLDERS})/[\w/.-]+\.(?:{SUFFIXES})\b")
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join((*ROOMS, 'tests'))})(?:[.:][A-Za-z]\w*)+(?![\w/])")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def expanded(text: str) -> str:
    """A text with its shell variables and the lines that go on put in their places."""
    text = text.replace("\\\n", " ")
    for name, value in re.findall(r'^\s+(\w+)="([^"\n]*)"', text, flags=re.MULTILINE):
        text = text.replace(f"${name}", value)
    return text


def arguments(text: str, start: int) -> str:
    """What follows a command's name, to the end of the quotation or else of the line."""
    paragraph = text.rfind("\n\n", 0, start) + 1
    if text.count("`", paragraph, start) % 2:
        return text[start : text.index("`", start)]
    first, *further = text[start:].split("\n")
    lines = [first]
    for line in further:
        if not re.match(r"\s+\[?--", line):
            break
        lines.append(line)
    return " ".join(re.split(r"\s\s+#|\s[|&]|[\"';]", line)[0] for line in lines)


def printed_commands(text: str) -> Iterator[tuple[str, set[str]]]:
    """The commands of this repository that a text prints, with the long flags after each."""
    text = expanded(text)
    for match in COMMAND.finditer(text):
        module, script = match.groups()
        if not module or module.partition(".")[0] not in OTHER_PROGRAMS:
            yield module or f"{script}.py", set(FLAG.findall(arguments(text, match.end())))


def by_command() -> dict[str, dict[str, set[str]]]:
    """Flags of each printed command, and for each flag the pages where it stands."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for page in PAGES:
        for name, flags in printed_commands(page.read_text()):
            found[name]["--help"].add(page.name)
            for flag in flags:
                found[name][flag].add(page.name)
    return found


COMMANDS = by_command()


def is_command(name: str) -> bool:
    """Whether a module, or a script of the top folder, is there and does something when run."""
    if name.endswith(".py"):
        path = REPOSITORY / name
    else:
        path = REPOSITORY.joinpath(*name.split("."))
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return path.is_file() and "__name__ ==" in path.read_text()


def flags_of(name: str) -> frozenset[str]:
    """The long flags in a command's help, which takes seconds where torch is imported."""
    words = [name] if name.endswith(".py") else ["-m", name]
    result = subprocess.run(
        [sys.executable, *words, "--help"],
        check=False,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: {'python ' * (len(words) > 1)}{' '.join(words)} ")
    # argparse may break a line after a hyphen
    return frozenset(FLAG.findall(re.sub(r"-\n\s+", "-", result.stdout)))


STARTED = [name for name in sorted(COMMANDS) if not name.startswith("examples.")]
"""Examples have no flags, and are run by their own tests."""


def test_printed_examples_are_there():
    examples = COMMANDS.keys() - set(STARTED)
    assert examples
    assert all(map(is_command, examples))


@pytest.mark.parametrize("name", STARTED)
def test_printed_command_starts_and_knows_its_printed_flags(name):
    assert is_command(name), f"no {name}, printed in {sorted(COMMANDS[name]['--help'])}"
    if name in NEEDS and not find_spec(NEEDS[name]):
        pytest.skip(f"{name} needs {NEEDS[name]}")
    flags = flags_of(name)
    unknown = {flag: pages for flag, pages in COMMANDS[name].items() if flag not in flags}
    assert not unknown


def test_commands_are_found_in_every_way_of_printing_them():
    text = """
With `python -m hw.doctor` and `python -m hw.describe
--like X`, or `train.py` --no-flag-of-it:

    R="sudo .venv/bin/python deploy.py --json"
    $R --run RUN [--dry-run]      # not --this
    python -m partition.server ... \\
        --insecure
    OMP_NUM_THREADS=1 $(BIN)/python -m hw.restore | tee --append log
    python train.py [--seed S]
                    [--algo a|b] [--out DIR]
    python -m pytest --numprocesses 2
"""
    found = defaultdict(set)
    for name, flags in printed_commands(text):
        found[name] |= flags
    assert found == {
        "hw.doctor": set(),
        "hw.describe": {"--like"},
        "deploy.py": {"--json", "--run", "--dry-run"},
        "partition.server": {"--insecure"},
        "hw.restore": set(),
        "train.py": {"--seed", "--algo", "--out"},
    }


def test_wrong_modules_and_wrong_flags_are_told_from_right_ones():
    assert is_command("hw.restore")
    assert is_command("partition.server")
    assert not any(map(is_command, ("hw.restor", "partition", "hw.errors", "deployed.py")))
    flags = flags_of("hw.restore")
    assert "--journal" in flags
    assert "--diary" not in flags


def install_flags() -> set[str]:
    """The flags in the help of the script for boards."""
    result = subprocess.run(
        [REPOSITORY / "install.sh", "--help"], capture_output=True, text=True, check=True
    )
    return set(FLAG.findall(result.stdout))


def test_flags_printed_after_the_install_script_are_its_own():
    pages = (*PAGES, *CODE, REPOSITORY / "install.sh", REPOSITORY / "README.md")
    printed = {
        flag: page.name
        for page in pages
        for words in re.findall(r"\./install\.sh( [^`'\n]*)", page.read_text())
        for flag in FLAG.findall(words)
    }
    assert "--standalone" in printed
    assert {flag: at for flag, at in printed.items() if flag not in install_flags()} == {}


def test_every_flag_in_running_text_belongs_to_a_command():
    printed = {
        flag: page.name
        for page in MARKDOWN
        for quoted in re.findall(r"`(--[^`]*)`", page.read_text())
        for flag in FLAG.findall(quoted)
        if flag not in OTHER_FLAGS
    }
    defined = set(re.findall(r'"(--[a-z-]+)"', "".join(path.read_text() for path in CODE)))
    defined |= install_flags()
    assert len(printed) > 20
    assert {flag: at for flag, at in printed.items() if flag not in defined} == {}


def test_modules_that_the_code_tells_to_run_exist():
    told = {
        name: str(path.relative_to(REPOSITORY))
        for path in CODE
        for name, _ in printed_commands(path.read_text())
    }
    assert len(told) > 20
    assert {name: at for name, at in told.items() if not is_command(name)} == {}


def test_named_files_exist():
    named = [
        (match, path.name)
        for path in (*PAGES, *CODE)
        for match in FILE.findall(path.read_text())
        if not match.startswith("results/runs/")
    ]
    assert len(named) > 50
    assert [pair for pair in named if not (REPOSITORY / pair[0]).exists()] == []


def is_defined(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or a name in the text of one."""
    path = REPOSITORY
    for place, part in enumerate(parts := re.split("[.:]", dotted)):
        if (path / f"{part}.py").is_file():
            text = (path / f"{part}.py").read_text()
            return all(re.search(rf"\b{name}\b", text) for name in parts[place + 1 :])
        if not (path / part).is_dir():
            text = (path / "__init__.py").read_text()
            return all(re.search(rf"\b{name}\b", text) for name in parts[place:])
        path /= part
    return True


def test_dotted_names_in_pages_are_modules_and_what_stands_in_them():
    named = [(name, page.name) for page in PAGES for name in DOTTED.findall(page.read_text())]
    assert len(named) > 100
    assert [pair for pair in named if not is_defined(pair[0])] == []
    assert is_defined("partition.stages.pipeline_driver.PipelineDriver")
    assert not is_defined("partition.stages.pipeline_driver.Driver")
    assert not is_defined("partition.stage.pipeline_driver")


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(link: str, page: Path) -> bool:
    """Whether a relative link of a page leads to no file, or to none of its headings."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return not target.exists() or bool(anchor and anchor not in headings(target))


def test_links_lead_to_files_and_headings():
    links = [
        (page, link)
        for page in (*MARKDOWN, REPOSITORY / "CHANGELOG.md")
        for link in LINK.findall(page.read_text())
        if "://" not in link
    ]
    assert len(links) > 50
    assert [(page.name, link) for page, link in links if broken(link, page)] == []


def test_every_command_has_its_place_among_the_pages():
    page = (REPOSITORY / "docs" / "commands.md").read_text()
    shown = {name for name, _ in printed_commands(page)}
    rooms = (path.relative_to(REPOSITORY) for path in CODE if path.parent != REPOSITORY)
    names = {
        ".".join(path.with_suffix("").parts).removesuffix(".__main__")
        for path in rooms
        if path.parts[0] != "benchmarks" and "__name__ ==" in (REPOSITORY / path).read_text()
    }
    assert names - shown - {"hw.calibrate.write_boards"} == set()
