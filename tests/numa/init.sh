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

# watched WORDS...: runs `muster kernel WORDS`, and prints what the kernel says of its threads that fold, while they do
# (last THREAD CPU, allowed THREAD CPUS), of its memory (map ...), and its own event of the placement.
watched() {
    muster kernel "$@" --placement --no-ledger --json --progress json >/tmp/answer 2>/tmp/events &
    pid=$!
    rm -f /tmp/tasks /tmp/maps
    # Once it folds it is held, so that one look at least comes in time.
    until grep -q '"event":"progress"' /tmp/events || over; do :; done
    kill -STOP $pid 2>/dev/null
    look
    kill -CONT $pid 2>/dev/null
    until over; do look; done
    wait $pid
    code=$?
    awk '/^[0-9]+ \(fold-/ { print "last", $1, $39 }
        /Cpus_allowed_list/ { split($1, path, "/"); print "allowed", path[5], $2 }' /tmp/tasks | sort -u
    grep ' anon=' /tmp/maps | sed 's/^/map /'
    [ $code = 0 ] || cat /tmp/events
    grep '"event":"placement"' /tmp/events
    return $code
}

# The process has ended, or is a zombie.
over() {
    read -r _ _ state _ <"/proc/$pid/stat" 2>/dev/null || return 0
    [ "$state" = Z ]
}

look() {
    grep Cpus_allowed_list: /proc/$pid/task/*/status >>/tmp/tasks
    cat /proc/$pid/task/*/stat >>/tmp/tasks
    cat /proc/$pid/numa_maps >/tmp/maps.now
    [ -s /tmp/maps.now ] && mv /tmp/maps.now /tmp/maps
} 2>/dev/null

. /job
read -r up _ </proc/uptime
echo "at $up s off"
echo '== done'
poweroff -f
