"""What DuckDB, numpy and Python's own fractions make of a table of flights: prints one JSON object.

Usage: tables.py FLIGHTS.csv FOLDER   writes the table to FOLDER as flights.parquet, flights.csv.gz and flights.csv.zst
"""

import json
import math
import sys

import duckdb
import numpy as np
import scipy.linalg

source, folder = sys.argv[1:]
duckdb.sql(f"""create table flights as select *, distance / air_time as speed
               from read_csv('{source}', nullstr='NA')""")
for kind in ["flights.parquet (format parquet, compression snappy, row_group_size 40000)",
             "flights.csv (format csv, header, nullstr 'NA')",
             "flights.csv.gz (format csv, header, nullstr 'NA', compression gzip)",
             "flights.csv.zst (format csv, header, nullstr 'NA', compression zstd)"]:
    name, options = kind.split(" ", 1)
    duckdb.sql(f"copy flights to '{folder}/{name}' {options}")


def rows(query):
    return [list(row) for row in duckdb.sql(query).fetchall()]


def speeds():
    """Sums of floating point as they should be: rounded once."""
    groups = {}
    for carrier, speed in duckdb.sql("select carrier, speed from flights").fetchall():
        groups.setdefault(carrier, []).append(speed)
    return [[carrier, math.fsum(x for x in groups[carrier] if x is not None)] for carrier in sorted(groups)]


def bins():
    """numpy's histogram of one column, and of two."""
    columns = duckdb.sql("select air_time, distance, dep_delay from flights").fetchnumpy()
    air, distance, delay = (np.ma.filled(columns[name].astype(float), np.nan) for name in columns)
    both = ~np.isnan(air)
    flat = np.histogram2d(air[both], distance[both], bins=[6, [0, 500, 1000, 5000]])[0]
    return {"one": np.histogram(delay[~np.isnan(delay)], bins=20)[0].tolist(), "two": flat.astype(int).tolist()}


def fit():
    """Least squares by scipy's QR, with standard errors by the textbook."""
    columns = duckdb.sql("""select arr_delay, dep_delay, distance, air_time from flights
                            where arr_delay is not null and air_time is not null""").fetchnumpy()
    y, *x = (np.asarray(columns[name], dtype=float) for name in columns)
    x = np.column_stack([np.ones(len(y)), *x])
    q, r = scipy.linalg.qr(x, mode="economic")
    beta = scipy.linalg.solve_triangular(r, q.T @ y)
    left = y - x @ beta
    s2 = left @ left / (len(y) - x.shape[1])
    inverse = scipy.linalg.solve_triangular(r, np.eye(x.shape[1]))
    errors = np.sqrt(s2 * (inverse ** 2).sum(axis=1))
    return {"n": len(y), "coefficients": beta.tolist(), "errors": errors.tolist(),
            "r2": 1 - left @ left / ((y - y.mean()) ** 2).sum()}


where = "distance > 500 and (carrier in ('UA', 'DL') or not dep_delay <= 30)"
print(json.dumps({
    "counts": rows("""select carrier, count(*), count(arr_delay), sum(distance)::bigint, min(dep_delay), max(dep_delay),
                      strftime(min(time_hour at time zone 'UTC'), '%Y-%m-%dT%H:%M:%SZ') from flights group by all order by all"""),
    "filtered": [[*key, count, total / there if there else None] for *key, count, total, there in rows(
        f"""select origin, dest, count(*), sum(arr_delay)::bigint, count(arr_delay) from flights where {where}
            group by all order by all""")],
    "missing": rows("""select tailnum, count(*), min(air_time) from flights group by all order by tailnum nulls first"""),
    "speeds": speeds(),
    "spread": rows("select month, var_samp(speed), stddev_samp(arr_delay) from flights group by all order by all"),
    "quantiles": rows("""select dest, quantile_disc(speed, 0.5), quantile_disc(speed, 0.9), quantile_disc(speed, 0.01)
                         from flights group by all order by all"""),
    "exact": rows("""select quantile_disc(arr_delay, [0.001, 0.5, 0.99]), quantile_cont(speed, [0.001, 0.5, 0.99])
                     from flights""")[0],
    "bins": bins(),
    "fit": fit(),
}))
