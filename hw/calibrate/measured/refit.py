"""All boards that were measured: one call fits and judges them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hw.calibrate.boards import Table, power_model, read_table
from hw.calibrate.measured import clocks, detectors, draw, power_modes, processors, tables
from hw.calibrate.measured.found import BoardFit
from hw.calibrate.measured.shares import GPU, ClocksHz, Shares, gpu_share

XAVIERS = {"xavier-nx": "xavier_nx", "agx-xavier": "agx_xavier"}
DETECTOR_BOARDS = {
    "xavier-nx": "XavierNX-8GB",
    "orin-nano": "OrinNano-8GB",
    "orin-nx": "OrinNX-16GB",
    "agx-orin": "OrinAGX-64GB",
}


def refit(data_dir: Path) -> dict[str, BoardFit]:
    """Fit every board that was measured, and judge each on rows that the fit has not seen.

    Args:
        data_dir: folder with the measured data (CSV).

    Raises:
        DataError: a file is missing, lacks a column or holds something that is no number.
        DeviceFileError: the table of boards is missing or damaged.
    """
    boards = read_table()
    fits = {name: BoardFit(_top(boards[name])) for name in MEASURED}
    shares = _fit_clocks(data_dir, boards, fits)
    _fit_detectors(data_dir, boards, fits, shares)
    _fit_processors(data_dir, boards, fits)
    nano = fits[power_modes.NAME]  # what was measured is the one with higher clocks
    fits[f"{power_modes.NAME}-super"] = replace(nano, bars=[], points=[])
    return fits


MEASURED = ("xavier-nx", "agx-xavier", "agx-orin", "orin-nx", "orin-nano", "pi4", "rk3588")


def _top(board: Table) -> ClocksHz:
    return ClocksHz(*(board[f"{kind}_mhz"][-1] * 1e6 for kind in ("cpu", "gpu", "emc")))


def _fit_clocks(data_dir: Path, boards: dict[str, Table], fits: dict[str, BoardFit]) -> Shares:
    """Latency and power of MLPerf submissions; returns the AGX Orin's shares."""
    rows = tables.submissions(data_dir)
    for name, board in XAVIERS.items():
        fit = fits[name]
        clocks.fit_xavier(rows, board, name, fit)
        share = gpu_share(clocks.ratios(rows, board, fit.top))
        loads = draw.loads(rows, board, share, fit.top)
        # Readings at both ends tie a Xavier NX's plug to its input.
        has_offset = name != "xavier-nx"
        draw.add_power(fit, name, clocks.INT8, power_model(name, boards), loads, offset=has_offset)
    orin = fits["agx-orin"]
    shares = clocks.fit_orin(rows, orin)
    steady = [row for row in rows if (row.network, row.scenario) != clocks.UNSTEADY]
    loads = draw.loads(steady, "agx_orin", shares, orin.top, clocks.ORIN_RELEASE)
    power = power_model("agx-orin", boards)
    draw.add_power(orin, "agx-orin", clocks.INT8, power, loads, offset=True)
    clocks.fit_orin_nx(rows, fits["orin-nx"], shares)
    return shares


def _fit_detectors(
    data_dir: Path, boards: dict[str, Table], fits: dict[str, BoardFit], shares: Shares
) -> None:
    rows = tables.detectors(data_dir)
    nx = clocks.ratios(tables.submissions(data_dir), "xavier_nx", fits["xavier-nx"].top)
    whole = (shares.gpu**2 + shares.emc**2) ** 0.5
    rest = Shares(0.0, 0.0, shares.gpu / whole, shares.emc / whole)
    for name, device in DETECTOR_BOARDS.items():
        is_orin = name != "xavier-nx"
        parts = (shares,) * 3 if is_orin else clocks.xavier_parts(nx)
        detectors.fit_fp16(rows, device, name, fits[name], parts)
        if name != power_modes.NAME:  # nobody ran PyTorch on its detectors
            detectors.fit_torch(rows, device, name, fits[name], rest if is_orin else GPU)
    torch = fits["orin-nx"].runtimes[detectors.TORCH].network
    like = fits["agx-orin"].runtimes[clocks.INT8].activity
    assert torch is not None
    assert like is not None
    modes, nano = tables.yolo_modes(data_dir), fits[power_modes.NAME]
    power_modes.fit_modes(modes, nano, shares, torch)
    power_modes.fit_mode_power(modes, nano, power_model(power_modes.NAME, boards), like)
    for name in ("xavier-nx", "agx-orin", "orin-nx"):
        _share_activity(fits[name], fits["agx-orin"])


def _share_activity(fit: BoardFit, orin: BoardFit) -> None:
    """A GPU's run-times whose power nobody read draw as in int8, on the AGX Orin if need be."""
    int8 = fit.runtimes[clocks.INT8].activity or orin.runtimes[clocks.INT8].activity
    for runtime in fit.runtimes.values():
        runtime.activity = runtime.activity or int8


def _fit_processors(data_dir: Path, boards: dict[str, Table], fits: dict[str, BoardFit]) -> None:
    rows = tables.processors(data_dir)
    for name, engines in processors.ENGINES.items():
        fit, power = fits[name], power_model(name, boards)
        for engine in engines:
            seconds = processors.fit_engine(rows, name, engine, fit)
            if "computing_w" in boards[name] and not fit.power:
                share = processors.fit_wall_share(rows, engine, boards[name]["computing_w"])
                fit.power["wall_share"] = share
            processors.fit_activity(rows, name, engine, fit, seconds, power)
    processors.add_onnxruntime(rows, fits["agx-orin"])
