"""Every architecture, at every cut or 12 of them, with a static and a free batch.

python -m benchmarks.models [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.models.row import ZOO, measured_row
from tests.partition.architectures import ARCHITECTURES
from tests.partition.splitting import RELATIVE_ERROR, SPREAD_CUTS

RESULT = Path("results/models.md")
HEADER = f"""# Networks that were cut

Head plus tail against the unsplit network in ONNX Runtime, at every cut or {SPREAD_CUTS} spread
over the depth; batches 1 and 3 where the batch is free. `error` is the largest difference over the
largest difference between two samples; {RELATIVE_ERROR:g} is the bar. `x` is the most tensors
that cross at a cut. All but the EfficientNet-Lites have random weights and a few layers; sizes in
`tests/partition/architectures.py`.

    python -m benchmarks.models

| network | batch | cuts | x | error | s |
|---|---|---|---|---|---|
"""


def main() -> int:
    known = [*ZOO, *ARCHITECTURES]
    parser = argparse.ArgumentParser("python -m benchmarks.models", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(known)}; all, to {RESULT}")
    names = parser.parse_args().name
    if unknown := set(names) - set(known):
        parser.error(f"no network {min(unknown)}; there are {', '.join(known)}")
    chosen = names or known
    cases = [(name, dynamic_batch) for name in chosen for dynamic_batch in (True, False)]
    rows = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
        for row, passed in pool.map(measured_row, *zip(*cases, strict=True)):
            print(row, flush=True)
            rows.append((row, passed))
    met = sum(passed for _, passed in rows)
    summary = f"\n{met} of {len(rows)} met, {len(chosen)} networks.\n"
    print(summary)
    if not names:
        RESULT.write_text(HEADER + "\n".join(row for row, _ in rows) + "\n" + summary)
    return 0 if met == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
