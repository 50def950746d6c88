#!/bin/bash
#SBATCH --job-name=var
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#SBATCH --output=.demo/var.out
# Value at risk of half S&P 500, half NASDAQ, held for ten days. The team has as many ranks as the job has tasks.
set -e
muster kernel moments .demo/sp500.csv --columns Open,Close,Volume --progress none
echo
muster kernel monte-carlo $(cat demo/var.args) --fresh --json --output .demo/answer.json --receipt .demo/receipt.json --progress none
python3 demo/show.py .demo/answer.json
