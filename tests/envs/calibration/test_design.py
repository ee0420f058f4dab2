from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.calibration.design import Design, usual_board
from envs.calibration.fitting.fit import Measured, Setting, fit_board
from envs.calibration.samples import Kind, Piece, work
from tests.envs.calibration import invented
from tests.envs.calibration.invented import CPU_HZ, GPU_HZ, OPTIONS, WHOLE

SETTING = Setting(("cpu", "gpu"), "gpu")
PIECES = (
    Piece(Kind.IDLE),
    *(Piece(Kind.HEAD, route) for route in (1, 4, 8)),
    Piece(Kind.TAIL, 3),
    *(Piece(Kind.HOST, route) for route in (0, 5, 8)),
)
POINTS = [(piece, cpu, gpu) for piece in PIECES for cpu in CPU_HZ for gpu in GPU_HZ]
ALL = work([p for p, _, _ in POINTS], [{"cpu": c, "gpu": g} for _, c, g in POINTS], OPTIONS)


@pytest.fixture(scope="module")
def design():
    return Design(ALL, np.ones(len(ALL)))


def chosen(design, board, n):
    plan = design.plan(board)
    for _ in range(n):
        plan.add(plan.best(is_new=False))
    return [POINTS[index] for index in plan.chosen]


def test_a_plan_sees_every_kind_of_work_and_both_ends_of_each_clock(design):
    found = chosen(design, usual_board(SETTING, ALL), 24)
    assert {piece.kind for piece, _, _ in found} == set(Kind)
    assert {CPU_HZ[0], CPU_HZ[-1]} <= {cpu for _, cpu, _ in found}
    assert {GPU_HZ[0], GPU_HZ[-1]} <= {gpu for _, _, gpu in found}


def test_what_takes_long_is_measured_less_often(design):
    board = usual_board(SETTING, ALL)
    of_whole = [sum(piece == WHOLE for piece, _, _ in chosen(design, board, 24))]
    slow = np.where([piece == WHOLE for piece, _, _ in POINTS], 20.0, 1.0)
    dear = replace(design, costs=slow)
    of_whole.append(sum(piece == WHOLE for piece, _, _ in chosen(dear, board, 24)))
    assert of_whole[1] < of_whole[0]


def test_extremes_are_the_largest_piece_at_both_ends(design):
    found = [POINTS[index] for index in design.extremes(Kind.HEAD)]
    assert found == [(WHOLE, CPU_HZ[-1], GPU_HZ[-1]), (WHOLE, CPU_HZ[0], GPU_HZ[0])]
    found = [POINTS[index] for index in design.extremes(Kind.HOST)]
    assert {piece.route for piece, _, _ in found} == {0}  # sends most


def test_what_was_not_measured_comes_next(design):
    samples = [s for s in invented.samples(5, 200) if s.kind is not Kind.HOST or s.route == 8]
    board = fit_board(Measured.of(samples, OPTIONS), SETTING)
    measured = [index for index, (piece, _, _) in enumerate(POINTS) if piece.kind is not Kind.HOST]
    found = [POINTS[index] for index in design.next(board, measured)]
    assert found[0][0].kind is Kind.HOST
    assert len(set(found)) == 3


def test_without_a_power_sensor_an_idle_board_tells_nothing(design):
    blind = replace(design, has_power=False)
    found = chosen(blind, usual_board(SETTING, ALL), 24)
    assert Kind.IDLE not in {piece.kind for piece, _, _ in found}
