"""How the documentation site is built: `make docs`, from the pages as they lie in the repository.

The source folder is the repository itself, so that pages link to each other, to results and to
code by the same relative paths in a checkout, on a forge and on the site.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
# Commands that are asked for their help run in this interpreter and keep to a page's width.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYTHONPATH"] = str(REPOSITORY)
os.environ["COLUMNS"] = "88"

project = "dvfo"
author = copyright = "the authors of dvfo"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.programoutput",
]
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "results/*.md"),
    *("tests/kernel/README.md", "benchmarks/soak/README.md", "examples/README.md"),
]
root_doc = "docs/index"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # pages are read on a forge, too, where a level may be left out

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "dvfo"
html_show_sphinx = False


def _from_markdown(docstring: str) -> str:
    """A docstring's Markdown (code, headings, tables) in reStructuredText, which autodoc reads."""
    code = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", docstring)
    headings = re.sub(r"^#+ (.+)$", r".. rubric:: \1\n", code, flags=re.MULTILINE)
    return re.sub(r"(?:^\|.*\n?)+", _as_literal, headings, flags=re.MULTILINE)


def _as_literal(table: re.Match[str]) -> str:
    return "::\n\n" + "".join(f"    {line}\n" for line in table[0].splitlines()) + "\n"


def _rewrite(*arguments: Any) -> None:
    lines = arguments[-1]
    lines[:] = _from_markdown("\n".join(lines)).split("\n")


def setup(app: Sphinx) -> None:
    """Connect what rewrites docstrings, before napoleon takes their sections apart."""
    app.connect("autodoc-process-docstring", _rewrite, priority=100)
