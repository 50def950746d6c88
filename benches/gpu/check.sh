#!/usr/bin/env bash
# Checks and times the class gpu-f32 on a machine with a card, and prints a Markdown table.
#
#   benches/gpu/check.sh PATH/TO/muster
#
# Needs a release build of muster (carried here: no Rust is needed), NVIDIA's driver, NVRTC and the usual commands. Takes
# two to three minutes, of which no run takes more than 40 seconds. Exits with 1 where a check fails.
set -u -o pipefail

muster=$(realpath "${1:?usage: benches/gpu/check.sh PATH/TO/muster}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MUSTER_STATE="$work/state" XDG_CACHE_HOME="$work/cache"
failed=0

# Options of the measured job: an arithmetic Asian option, 252 dates.
asian=(kernel monte-carlo --option asian --steps 252 --progress none --json)
large=4e10   # paths: ten seconds of a card that does 1e12 path-steps a second
steps=252

# run NAME FLAGS...: the answer as one line without blanks in $work/NAME, wall seconds in $work/NAME.s
run() {
    local name=$1 began ended
    shift
    began=$(date +%s.%N)
    timeout 60 "$muster" "${asian[@]}" "$@" >"$work/$name.json" 2>"$work/$name.err" || {
        echo "failed: muster ${asian[*]} $*" >&2
        cat "$work/$name.err" >&2
        failed=1
    }
    ended=$(date +%s.%N)
    { tr -d ' \n' <"$work/$name.json"; echo; } >"$work/$name"
    awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.3f\n", b - a }' >"$work/$name.s"
}

# field NAME KEY: a number or a word of an answer
field() { sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p" "$work/$1"; }
price() { sed -n 's/.*"price":{"value":\([^,]*\),"standard_error":\([^,]*\),.*/\1 \2/p' "$work/$1"; }
class() { sed -n 's/.*"class":{"gpu-f32":"\([^"]*\)"}.*/gpu-f32@\1/p' "$work/$1"; }
row() { printf '| %s | %s | %s |\n' "$1" "$2" "$3"; }
same() { [ -n "$1" ] && [ "$1" = "$2" ] && echo yes || { failed=1; echo "**no**"; }; }

echo '```'
"$muster" doctor
echo '```'
echo
run cold --device gpu --paths 4096
if ! grep -q hash "$work/cold"; then
    echo "no answer from a card: see above" >&2
    exit 1
fi
run warm --device gpu --paths 4096
run warm2 --device gpu --paths 4096
run warm3 --device gpu --paths 4096
for i in 1 2 3; do run "large$i" --device gpu --paths $large; done
run half --device gpu --paths 2e10
one=$(field large1 hash)

# Whole, and killed on the way and resumed.
MUSTER_STATE="$work/killed" "$muster" "${asian[@]}" --device gpu --paths $large >/dev/null 2>&1 &
victim=$!
sleep 6
kill -KILL $victim 2>/dev/null && lived=yes || lived=no
wait $victim 2>/dev/null
MUSTER_STATE="$work/killed" run resumed --device gpu --paths $large --resume

# Other teams, other widths.
run team1 --device gpu --paths 2e9 --threads 1
run team3 --device gpu --paths 2e9 --threads 3
run ranks --device gpu --paths 2e9 --ranks 2 --team threads --threads 2

# The same draws in f64 on the CPU, and in f32 on the software device.
run cpu --paths 4e7
run card --device gpu --paths 4e7
run software --device software --paths 2e4
run little --device gpu --paths 2e4

echo "Class $(class large1), $(nproc) CPUs, $(date -u +%F). Paths of 252 steps; the seed is the default."
echo
echo '| what | value | remark |'
echo '| --- | --- | --- |'
rates=$(for i in 1 2 3; do
    awk -v n=$large -v k=$steps -v s="$(field large$i elapsed_s)" 'BEGIN { printf "%.4e\n", n * k / s }'
done | sort -g)
row "path-steps/s, whole run of $large paths, median of 3" "$(echo "$rates" | sed -n 2p)" "$(echo $rates); from start to answer"
full=$(for i in 1 2 3; do field large$i elapsed_s; done | sort -g | sed -n 2p)
row "path-steps/s, without the start" \
    "$(awk -v a="$full" -v b="$(field half elapsed_s)" -v k=$steps 'BEGIN { printf "%.4e", 2e10 * k / (a - b) }')" \
    "2e10 paths more over the time more"
row "one hash over three repeats" "$(same "$one" "$(field large2 hash)") $(same "$one" "$(field large3 hash)")" "$one"
done_before=$(field resumed resumed_blocks)
row "the same hash, killed and resumed" "$(same "$one" "$(field resumed hash)")" \
    "killed alive: $lived; $done_before of $(field resumed blocks) blocks were in the ledger"
row "the same hash for 1 and 3 threads, 2 ranks" \
    "$(same "$(field team1 hash)" "$(field team3 hash)") $(same "$(field team1 hash)" "$(field ranks hash)")" \
    "$(field team1 elapsed_s) s, $(field team3 elapsed_s) s, $(field ranks elapsed_s) s for 2e9 paths"
read -r cpu error < <(price cpu)
read -r card _ < <(price card)
row "price of 4e7 paths, CPU (portable-f64)" "$cpu" "standard error $error, $(field cpu elapsed_s) s"
agrees=$(awk -v a="$cpu" -v b="$card" 'BEGIN { d = a - b; if (d < 0) d = -d; print (d <= 1e-3) ? "yes" : "**no**" }')
[ "$agrees" = yes ] || failed=1
row "price of the same draws, card" "$card" \
    "apart $(awk -v a="$cpu" -v b="$card" 'BEGIN { printf "%.2e", b - a }'), at most 1e-3 (1e-5 of the spot): $agrees"
read -r software _ < <(price software)
read -r little _ < <(price little)
row "price of 2e4 paths, software device and card" "$software" \
    "apart $(awk -v a="$software" -v b="$little" 'BEGIN { printf "%.2e", b - a }')"
row "start to answer, cold cache" "$(cat "$work/cold.s") s" "one small block; NVRTC compiles"
row "start to answer, warm cache, median of 3" "$(cat "$work"/warm*.s | sort -g | sed -n 2p) s" "one small block"
exit $failed
