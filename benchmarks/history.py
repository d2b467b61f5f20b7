"""How fast a long study's history is written and read: 10,000 trials of 50 epochs, a row at a time.

`python benchmarks/history.py [--trials 10000]`
"""

import argparse
import tempfile
import time
from pathlib import Path

from study.records.metrics import METRICS
from study.records.tables import history_table

EPOCHS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        table = history_table(Path(folder))
        began = time.perf_counter()
        for trial in range(trials):
            for epoch in range(1, EPOCHS + 1):
                numbers = dict.fromkeys(METRICS, trial / 7 + epoch / 11)
                table.upsert([{"id": f"{trial:012x}", "epoch": epoch, **numbers, "loss": 0.5, "seconds": 1.0}])
        wrote = time.perf_counter() - began
        print(f"{trials * EPOCHS} rows written, {1e6 * wrote / trials / EPOCHS:.0f} us each")
        for name, read in (("all", table.read), ("one trial's", lambda: table.read(id=f"{trials // 2:012x}"))):
            began = time.perf_counter()
            rows = len(read())
            print(f"{name} rows read: {rows} in {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        best = table.read().group_by("id").aggregate([("dice_gap", "max")]).sort_by([("dice_gap_max", "descending")])
        print(f"best gap of each of {len(best)} trials in {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        table.merge()
        print(f"merged in {time.perf_counter() - began:.2f} s; read again: ", end="")
        began = time.perf_counter()
        table.read()
        print(f"{time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
