"""Waits until a third of the blocks is done, then kills a rank of the team (or muster itself, when it has no other)."""
import json
import os
import signal
import sys
import time

events, foreman = sys.argv[1], int(sys.argv[2])
pids, deadline = [], time.time() + 120
with open(events) as lines:
    while time.time() < deadline:
        line = lines.readline()
        if not line.endswith("\n"):
            try:
                os.kill(foreman, 0)
            except ProcessLookupError:
                sys.exit("demo: the job ended before a rank could be killed")
            time.sleep(0.02)
            continue
        event = json.loads(line)
        if event["event"] == "team":
            pids = event["pids"]
        if event["event"] == "progress" and event["done"] * 3 > event["blocks"]:
            victim = pids[-1]
            name = f"rank {len(pids) - 1} (process {victim})" if victim != foreman else f"muster itself (process {victim})"
            print(f"   {event['done']} of {event['blocks']} blocks are done: kill -9 {victim}, {name}", flush=True)
            os.kill(victim, signal.SIGKILL)
            sys.exit(0)
sys.exit("demo: no third of the blocks was done in time")
