#!/bin/bash
#SBATCH --job-name=strikes
#SBATCH --array=80-120:10%2
#SBATCH --output=%x-%a.out
#SBATCH --time=5
#
# One element for each strike, two at a time.
muster kernel monte-carlo --option european --strike "$SLURM_ARRAY_TASK_ID" --paths 1e6 --team threads
