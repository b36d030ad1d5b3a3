# Runs in a machine of its own with control groups v2 that enforce (qemu.sh), by busybox sh: starts jobs and prints what
# became of them, "NAME WORD…" a line.
export BGTOOLS_DIR=/tmp/jobs
G=/sys/fs/cgroup
# field NAME FIELD: of the newest record of that name.
record() { cat $(ls $BGTOOLS_DIR/$1_*.json | tail -n 1) < /dev/null; }
field() { record $1 | grep -o "\"$2\":\(\"[^\"]*\"\|[0-9.]*\)" | head -n 1 | cut -d: -f2- | tr -d '"'; }
ended() { bgstatus --wait --timeout 60s $1 > /dev/null 2>&1; }
pid() { record $1 | grep -o '"pid":[0-9]*,"pgid"' | grep -o '[0-9]*'; }
supervisor() { record $1 | grep -o '"supervisor":{"pid":[0-9]*' | grep -o '[0-9]*$'; }
living() { [ $(cat $G$(field $1 cgroup)/cgroup.procs | wc -l) -ge $2 ]; }
# The job's own words, the verdict's, and a field or two.
said() { n=$1; shift; line="$n"; for f in "$@"; do line="$line $f=$(field $n $f)"; done; echo "$line"; }
enter() { sh -c 'echo $PPID' > $G/$1/cgroup.procs; }
until_true() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 600 ] || { echo "gave-up $*"; exit 1; }; usleep 50000; done; }
gone() { [ -z "$(find $G -name 'bgrun-*' 2> /dev/null)" ]; }

mkdir $G/caller; enter caller
echo 120M > $G/caller/memory.max

# The job leaves the caller's group, dies alone at its own limit, and its supervisor tells.
bgrun -q -n hog --memory-max 40M -- tail /dev/zero; ended hog
said hog state isolation oom_kills memory_max_bytes
record hog | grep -o 'Memory cgroup out of memory: Killed process [0-9]* (tail)'
[ "$(field hog memory_peak_bytes)" -le $((40 << 20)) ] && echo "hog peak"
until_true gone; echo "hog groups removed"

# A limit above the caller's is the job's own.
bgrun -q -n wide --memory-max 160M -- sh -c 'head -c 130M /dev/zero | tail | wc -c'; ended wide
said wide state isolation

# One of its processes dies, the command lives on and says 7.
bgrun -q -n member --memory-max 40M -- sh -c 'tail /dev/zero; exit 7'; ended member
said member state oom_kills reason

# A person's SIGKILL is no kill for memory.
bgrun -q -n person --memory-max 40M -- sleep 1000
kill -KILL $(pid person); ended person
said person state oom_kills reason

# The other limits, read where the kernel has them; swap has none to limit.
bgrun -q -n all --memory-high 30M --memory-max 40M --memory-swap-max 0 --cpus 0.5 --pids-max 20 -- sleep 1000
g=$G$(field all cgroup)
echo "all $(cat $g/memory.high $g/memory.max $g/cpu.max $g/pids.max | tr '\n' ' ')"
cut -d: -f3 /proc/$(pid all)/cgroup | grep -q "^/bgrun-.*/run1$" && echo "all inside"
bgcancel -q all; until_true gone; echo "all removed"

# Without a limit the group counts all the same; processor time is that of all, waited for or not.
bgrun -q -n plain -- sh -c 'setsid sh -c "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done; sleep 1000" & sleep 4'; ended plain
said plain state isolation left_running
[ "$(field plain user_s | tr -d .)" -gt 50000 ] && echo "plain counted"
kill -KILL $(cat $G$(field plain cgroup)/cgroup.procs); until_true eval 'bgrun -q -n sweep -- true; ended sweep; gone'; echo "plain swept"

# A cleaned environment and two forks: without its supervisor the group still proves what is the job's.
bgrun -q -n orphan -- sh -c 'env -i setsid sh -c "sleep 1000 & sleep 1001" & sleep 1002'
until_true living orphan 3
stray=$(cat $G$(field orphan cgroup)/cgroup.procs)
kill -KILL $(supervisor orphan)
bgcancel orphan | sed 's/_[0-9_]* / /'; echo "orphan code $?"
for p in $stray; do [ ! -d /proc/$p ] || echo "orphan left $p"; done; echo "orphan gone"
until_true gone; echo "orphan groups removed"

# A fork bomb of cleaned processes dies whole.
bgrun -q -n bomb --pids-max 60 --grace 0s -- sh -c 'env -i sh -c "f() { f & f & sleep 1000; }; f"; sleep 1000' 2> /dev/null
until_true eval '[ $(cat $G$(field bomb cgroup)/pids.current) -gt 50 ]'
bgcancel -q bomb; echo "bomb code $?"; until_true gone; echo "bomb gone"

# Each run has a group of its own.
bgrun -q -n twice --memory-max 40M --restart on-failure --max-restarts 1 --backoff 10ms..10ms -- tail /dev/zero; ended twice
said twice state cgroup oom_kills | sed 's/bgrun-[0-9a-f]*/bgrun-KEY/'
# A job that waits has left its caller's group.
bgrun -q -n first -- sleep 1000
bgrun -q -n later --after first --memory-max 40M -- tail /dev/zero
grep -q '/bgrun-[0-9a-f]*/supervisor$' /proc/$(supervisor later)/cgroup && echo "later left"
bgcancel -q later first; until_true gone

# The clock jumps an hour ahead when all have begun, and two back a little later; time passes as it does (/proc/uptime). What
# followed the clock would come at the first jump, or hours late: the machine may be slow.
uptime_ms() { sed 's/\([0-9]*\)\.\([0-9]*\).*/\1\20/' /proc/uptime; }
jump() { date -s @$(($(date +%s) + $1)) > /dev/null; }
lines() { [ $(cat $1 2> /dev/null | wc -l) -ge $2 ]; }
within() { [ $2 -ge $3 ] && [ $2 -le $4 ] && echo "$1" || echo "$1 after $2 ms"; }
same() { bgrun -n same -- true | tee -a /tmp/same > /tmp/last; ended same; }
begun=$(uptime_ms)
bgrun -q -n limited --timeout 5s -- sleep 1000
bgrun -q -n delayed --delay 3s -- sh -c 'cut -d" " -f1 /proc/uptime | sed "s/\.//;s/$/0/" > /tmp/delayed'
bgrun -q -n every --every 2s --max-runs 4 -- sh -c 'cut -d" " -f1 /proc/uptime | sed "s/\.//;s/$/0/" >> /tmp/every'
(bgstatus --wait --timeout 3s every > /dev/null 2>&1; echo $? $(uptime_ms) > /tmp/waited) & waiter=$! waiting=$(uptime_ms)
same; until_true lines /tmp/every 1
jump 3600; same
until_true lines /tmp/every 2
jump -7200; same
ended delayed; wait $waiter; ended limited; within=$(uptime_ms); ended every
within "delayed 3 s" $(($(cat /tmp/delayed) - begun)) 3000 15000
said limited state reason
within "limited 5 s" $((within - begun)) 5000 20000
set -- $(cat /tmp/waited); within "waited 3 s, code $1" $(($2 - waiting)) 3000 15000
set -- $(cat /tmp/every); echo "every state=$(field every state) $# runs"
within "every 2 s" $(($2 - $1)) 1000 9000; within "every 4 s" $(($3 - $1)) 3000 11000; within "every 6 s" $(($4 - $1)) 5000 13000
echo "same $(sort -u /tmp/same | wc -l) ids, $(ls $BGTOOLS_DIR/same_*.json | wc -l) records, $(bgstatus -a -o state same | grep -c succeeded) succeeded"
[ "$(bgstatus --json same | grep -c "\"id\":\"$(cat /tmp/last)\"")" = 1 ] && echo "same newest"
jump 3600; bgstatus -o id,state same every limited delayed > /tmp/table; echo "table $? $(grep -c "succeeded\|timed-out" /tmp/table)"
until_true gone

# The kernel log alone: the whole machine is out of memory, and the job has no group.
enter .
bgrun -q -n machine --isolate none -- tail /dev/zero; ended machine
said machine state isolation oom_kills oom_kills_machine
record machine | grep -o 'Out of memory: Killed process [0-9]* (tail)'

# In a namespace whose root is the caller's group there is no place beside it.
mkdir $G/inner; enter inner
/bin/unshare -Cm sh -c 'umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; bgrun -q -n ns --isolate cgroup -- true; echo "namespace $?"; bgrun -q -n ns --memory-max 9M -- true; echo "namespace $?"; bgrun -q -n ns -- true; echo "namespace $?"' 2>&1
said ns isolation
# What systemd has not delegated is systemd's; a unit with the mark isn't.
mkdir -p /run/systemd/system $G/a.slice/b.service; echo +memory > $G/a.slice/cgroup.subtree_control; enter a.slice/b.service
bgrun -q -n tree --isolate cgroup -- true; echo "undelegated $?"
mkdir -p $G/a.slice/c.service/own; enter a.slice/c.service/own
bgrun -q -n tree --isolate cgroup -- true; echo "undelegated $?"
delegate-static $G/a.slice/c.service
bgrun -q -n tree --isolate cgroup --memory-max 9M -- true; echo "delegated $?"
exit 0
