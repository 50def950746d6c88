#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#
# Estimates pi with a plain Python program, run once for each of 100 blocks of ten million darts: a run prints how many
# it has thrown and how many hit, and the sums are the answer. The same numbers on a laptop with `muster run
# command.sh` and under Slurm with `sbatch command.sh`.
muster kernel command --count 1e7 --block 1e5 --merge sum --timeout 5m --retries 1 -- python3 -c '
import os, random
random.seed(int(os.environ["MUSTER_SEED"]))
darts = range(int(os.environ["MUSTER_START"]), int(os.environ["MUSTER_END"]))
hits = sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in darts)
print("darts", len(darts))
print("hits", hits)
'
