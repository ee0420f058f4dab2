"""Which of Debian's kernels the kernel tests take; apt is played."""

from __future__ import annotations

import pytest

from tests.kernel import packages
from tests.kernel.errors import KernelTestError

LISTS = """\
Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-image-amd64
Version: 6.1.176-1
Depends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)
"""


@pytest.fixture
def known(monkeypatch):
    """Let apt know the meta package and what is not among `missing`."""

    def play(*missing):
        def ask(_, package):
            if package == "linux-image-amd64":
                return LISTS
            return "" if any(name in package for name in missing) else f"Package: {package}\n"

        monkeypatch.setattr(packages, "_ask_apt", ask)

    return play


def test_the_newest_kernel_is_taken_with_whatever_programs_there_are(known):
    known("linux-kbuild-6.1=")  # not in the kernel's version
    kernel = packages.newest_kernel()
    assert (kernel.release, kernel.version) == ("6.1.0-56-amd64", "6.1.192-2")


def test_a_kernel_that_lacks_a_package_is_passed_over(known):
    known("linux-source-6.1=6.1.192-2")
    assert packages.newest_kernel().version == "6.1.176-1"


def test_no_complete_kernel_is_one_sentence(known):
    known("linux-source")
    with pytest.raises(KernelTestError, match="apt-get update"):
        packages.newest_kernel()
