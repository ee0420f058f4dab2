"""The page of fidelities: its networks are there to be fetched, its numbers where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fidelity import subjects
from benchmarks.fidelity.__main__ import Found, page
from benchmarks.fidelity.subjects import SUBJECTS, Subject
from benchmarks.models.catalog import networks
from partition.prepare.zoo import BUILT_IN
from partition.profile.fidelity import Judgement
from partition.profile.kind import Kind
from partition.profile.measures import MEASURES, TOP1, of_name


def test_every_network_is_of_the_zoo_or_of_the_catalogue():
    assert {subject.name for subject in SUBJECTS} <= {*BUILT_IN, *networks()}
    assert all(subject.measure is None or of_name(subject.measure) for subject in SUBJECTS)


def test_the_page_shows_the_input_and_the_worst_cut(tiny):
    n = len(tiny.split_points)
    values = [
        {"int8": {"value": 1 - 0.01 * i, "low": 0.5, "high": 1.0}, "int4": None} for i in range(n)
    ]
    judged = Judgement(Kind(TOP1, "as given"), 80, tuple(values), (0.0,) * n)
    subject = Subject("tiny-cnn", "classifier", lambda _: [], "noise")
    text = page([Found(subject, tiny, judged, [["JPEG, quality 95", "2.0", "0.787"]])], "command")
    overview = next(line for line in text.splitlines() if line.startswith("| tiny-cnn"))
    cells = [cell.strip() for cell in overview.strip("|").split("|")]
    worst = f"{1 - 0.01 * (n - 2):.3f} (0.500 to 1.000)"
    assert cells[4:] == ["80", "1.000 (0.500 to 1.000)", "unknown", worst, "unknown"]
    assert all(f"- `{measure.name}`" in text for measure in MEASURES)
    assert "| JPEG, quality 95 | 2.0 | 0.787 |" in text
    assert "| unsplit | 0.0 |" in text


def test_lines_of_text_are_cut_out_of_the_page(tiny):
    pytest.importorskip("skimage")
    found = subjects.lines("-1..1", tiny)
    assert len(found) > 50
    assert {x.shape for (x,) in found} == {tiny.input_shape}
    assert len({x.tobytes() for (x,) in found}) == len(found)
    assert np.mean([np.ptp(x) > 0.5 for (x,) in found]) > 0.9  # ink on paper
