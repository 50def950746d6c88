"""An access log, and how DuckDB groups it, as the bench log-scan and the tests call it.

    log_scan.py make FILE LINES            writes a log in the combined format: few addresses and paths are frequent, most
                                           are rare (Zipf's law), and most requests succeed
    log_scan.py time FILE PATTERN          prints as JSON the seconds of the second of two groupings by what PATTERN's
                                           first group captures
    log_scan.py group FILE PATTERN         prints the captured texts and their lines as JSON
"""

import json
import os
import sys
import time

import duckdb

duckdb.sql(f"set threads = {len(os.sched_getaffinity(0))}")


def make(file, lines):
    # Numbers that depend on the line alone: the same log everywhere.
    draw = lambda k: f"((hash(i * 16 + {k}) % 1000003) / 1000003.0)"
    zipf = lambda k, most: f"pow({most}, {draw(k)})::bigint"
    pick = lambda k, *of: f"[{', '.join(repr(x) for x in of)}][1 + floor(pow({draw(k)}, 3) * {len(of)})::int]"
    status = f"case when {draw(1)} < 0.9 then 200 when {draw(1)} < 0.95 then 304 when {draw(1)} < 0.98 then 404 " \
             f"when {draw(1)} < 0.99 then 301 when {draw(1)} < 0.997 then 403 else 500 + floor({draw(2)} * 5)::int end"
    method = pick(3, "GET", "GET", "POST", "HEAD", "PUT")
    folder = pick(4, "/", "/images/", "/api/v1/items/", "/static/css/", "/search?q=", "/user/profile/")
    agent = pick(5, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
                 "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1",
                 "curl/8.4.0", "Mozilla/5.0 (compatible; crawler/2.1)", "python-requests/2.31.0")
    duckdb.sql(f"""copy (select format('{{}}.{{}}.{{}}.{{}} - - [{{}} +0000] "{{}} {{}}{{:x}} HTTP/1.1" {{}} {{}} "-" "{{}}"',
        h % 223 + 1, h // 223 % 256, h // 57088 % 256, h * 7 % 256, strftime(to_timestamp(1700000000 + i // 40),
        '%d/%b/%Y:%H:%M:%S'), {method}, {folder}, {zipf(6, 200000)}::bigint * 40503 % 16777216, {status},
        {zipf(7, 60000)}, {agent}) from (select i, {zipf(0, 100000)} h from range({lines}) t(i)))
        to '{file}' (format csv, header false, quote '', escape '', delimiter '\\x01')""")
    print("null")


def group(file, pattern):
    text = f"read_csv('{file}', columns = {{'line': 'varchar'}}, delim = '\\x01', quote = '', header = false)"
    key = f"regexp_extract(line, '{pattern}', 1)"
    return duckdb.sql(f"""select {key} k, count(*) n from {text} where regexp_matches(line, '{pattern}')
                          group by k order by n desc, k limit 100""").fetchall()


if sys.argv[1] == "make":
    make(*sys.argv[2:])
elif sys.argv[1] == "group":
    print(json.dumps(group(*sys.argv[2:])))
else:
    group(*sys.argv[2:])
    began = time.perf_counter()
    group(*sys.argv[2:])
    print(json.dumps(time.perf_counter() - began))
