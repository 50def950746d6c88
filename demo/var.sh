#!/bin/bash
#SBATCH --job-name=var
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#SBATCH --output=.demo/%x.out
#
# Ten-day value at risk of a portfolio of two indices: how the prices moved, and what they may cost. The words after
# the script's name go to the second kernel.
set -eu

muster kernel moments .demo/sp500.csv --columns 'Adj Close,Volume'
echo
muster kernel monte-carlo --prices .demo/sp500.csv,.demo/nasdaq.csv --position sp500=600000,nasdaq=400000 \
    --model bootstrap,normal,student-t --horizon 10 --level 0.95,0.99 --scenarios 48e6 \
    --receipt .demo/var.receipt "$@"
