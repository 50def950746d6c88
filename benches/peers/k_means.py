"""K-means by scikit-learn, as the bench k-means calls it.

    k_means.py make ROWS.parquet START.csv     writes a mixture, and the start that both sides begin from
    k_means.py fit ROWS.parquet START.csv N    prints as JSON the seconds of reading, of 1 round, and of 1 + N rounds
"""

import json
import sys
import time

import duckdb
import numpy as np
from sklearn.cluster import KMeans

ROWS, COLUMNS, CLUSTERS = 10_000_000, 16, 32


def make(rows, start):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((CLUSTERS, COLUMNS))[rng.integers(0, CLUSTERS, ROWS)]
    x += rng.standard_normal((ROWS, COLUMNS))
    names = [f"x{j}" for j in range(COLUMNS)]
    np.savetxt(start, x[:CLUSTERS], delimiter=",", header=",".join(names), comments="", fmt="%.17g")
    duckdb.register("mixture", {name: np.ascontiguousarray(x[:, j]) for j, name in enumerate(names)})
    duckdb.sql(f"copy (from mixture) to '{rows}' (format parquet, compression snappy)")
    print("null")


def fit(rows, start, more):
    began = time.perf_counter()
    table = duckdb.sql(f"from '{rows}'").fetchnumpy()
    x = np.empty((ROWS, COLUMNS))
    for j in range(COLUMNS):
        x[:, j] = table.pop(f"x{j}")
    said = {"read_s": time.perf_counter() - began}
    init = np.loadtxt(start, delimiter=",", skiprows=1)
    for name, rounds in [("one_s", 1), ("many_s", 1 + more)]:
        began = time.perf_counter()
        model = KMeans(len(init), init=init, n_init=1, max_iter=rounds, tol=0, algorithm="lloyd", copy_x=False).fit(x)
        said[name] = time.perf_counter() - began
        said["inertia"] = float(model.inertia_)
    print(json.dumps(said))


if sys.argv[1] == "make":
    make(*sys.argv[2:4])
else:
    fit(sys.argv[2], sys.argv[3], int(sys.argv[4]))
