"""Group-by of two keys and three numbers, as the bench group-by calls it.

    group_by.py make FILE KEYS ROWS     writes a table of KEYS * KEYS groups: Parquet (snappy) or CSV, by the name
    group_by.py time ENGINE FILE        prints as JSON the seconds of the second of two runs by duckdb or polars
"""

import json
import os
import sys
import time

THREADS = len(os.sched_getaffinity(0))
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

import duckdb
import polars as pl


def make(file, keys, rows):
    form = "format csv, header" if file.endswith("csv") else "format parquet, compression snappy"
    duckdb.sql(f"""copy (select (hash(i) % {keys})::int a, (hash(i + 1) % {keys})::int b, round(random(), 4) x,
                   round(random() * 100, 3) y, (hash(i + 7) % 100000)::bigint z from range({rows}) t(i))
                   to '{file}' ({form})""")
    print("null")


def by_duckdb(file):
    sums = "count(*), sum(x), sum(y), sum(z)"
    return duckdb.sql(f"select a, b, {sums} from '{file}' group by a, b order by a, b limit 100").fetchall()


def by_polars(file):
    table = pl.scan_csv(file) if file.endswith("csv") else pl.scan_parquet(file)
    sums = [pl.len(), pl.col("x").sum(), pl.col("y").sum(), pl.col("z").sum()]
    return table.group_by("a", "b").agg(sums).sort("a", "b").head(100).collect()


def measure(engine, file):
    duckdb.sql(f"set threads = {THREADS}")
    once = {"duckdb": lambda: by_duckdb(file), "polars": lambda: by_polars(file)}[engine]
    once()
    began = time.perf_counter()
    once()
    print(json.dumps(time.perf_counter() - began))


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    measure(*sys.argv[2:])
