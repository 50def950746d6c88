#!/bin/busybox sh
# The first process of the guest: makes it a Linux, runs /job, says that it got to the end, and switches off.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root MUSTER_STATE=/tmp/state
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /cgroup
mount -t tmpfs shm /dev/shm
mount -t debugfs debug /sys/kernel/debug
mount -t cgroup2 cgroup /cgroup
hostname guest
ip link set lo up
ip address add 127.0.0.1/8 dev lo 2>/dev/null
# Linux moves pages between domains to whoever used them last: here it tries all the time.
cd /sys/kernel/debug/sched/numa_balancing && echo 1 >scan_delay_ms && echo 5 >scan_period_min_ms &&
    echo 20 >scan_period_max_ms
cd /

# section NAME COMMAND...: runs a command between lines that name it and its exit code.
section() {
    read -r up _ </proc/uptime
    echo "at $up s $1"
    echo "== $1"
    shift
    "$@"
    echo "== end $?"
}

# watched WORDS...: runs `muster kernel WORDS`, and prints what the kernel says of the threads that fold, while they do
# (last THREAD CPU, allowed THREAD CPUS), of muster's memory (map ...), and muster's own event of the placement.
watched() {
    rm -f /tmp/events /tmp/tasks /tmp/maps
    # Nice, so that this shell hears of the first block at once.
    (
        renice -n 19 -p "$(exec sh -c 'echo $PPID')" >/dev/null
        exec muster kernel "$@" --placement --no-ledger --json --progress json >/tmp/answer 2>/tmp/said
    ) &
    pid=$!
    looks=0
    while read -r line; do
        echo "$line" >>/tmp/events
        case $looks$line in [0-2]*'"event":"progress"'*) look ;; esac
    done </tmp/said
    wait $pid
    code=$?
    [ $code = 0 ] || cat /tmp/events
    awk '/^[0-9]+ \(fold-/ { print "last", $1, $39 }
        /Cpus_allowed_list/ { split($1, path, "/"); print "allowed", path[5], $2 }' /tmp/tasks | sort -u
    grep ' anon=' /tmp/maps | sed 's/^/map /'
    grep '"event":"placement"' /tmp/events
    return $code
}

# Holds the processes that fold, that they do not end meanwhile, and looks at them.
look() {
    looks=$((looks + 1))
    kill -STOP $pid
    ranks=$(pidof muster-rank)
    kill -STOP $ranks
    all="$pid $ranks"
    for one in $all; do
        grep Cpus_allowed_list: /proc/$one/task/*/status
        cat /proc/$one/task/*/stat
    done >>/tmp/tasks
    cat /proc/$pid/numa_maps >/tmp/maps.now
    [ -s /tmp/maps.now ] && mv /tmp/maps.now /tmp/maps
    kill -CONT $all
} 2>/dev/null

mkfifo /tmp/said
. /job
read -r up _ </proc/uptime
echo "at $up s off"
echo '== done'
poweroff -f
