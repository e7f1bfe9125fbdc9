#!/usr/bin/env bash
# Run a command on a Dask cluster over SSH: the scheduler and the command here, one worker on each host.
#
#   examples/clusters/ssh.sh 10.0.0.1 alice@10.0.0.2 bob@10.0.0.3 -- ayni run job.yaml --yes
#
# The first argument is this machine's address as the hosts see it; one host may be named several times.
# The command gets --set train.engine=... and --set train.learners=... added. Needed: a login without a
# password on each host, the same versions of Ayni and torch there, and ports open between all of them.
#
# Environment: PORT of the scheduler, THREADS of each worker, SSH (the command, with options), PYTHON here
# and REMOTE_PYTHON there.
set -euo pipefail
PORT=${PORT:-8786} THREADS=${THREADS:-1} SSH=${SSH:-ssh}
PYTHON=${PYTHON:-python3} REMOTE_PYTHON=${REMOTE_PYTHON:-$PYTHON}
address=${1:?usage: ssh.sh ADDRESS HOST... -- COMMAND...}
shift
hosts=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do hosts+=("$1"); shift; done
shift
engine="tcp://$address:$PORT"
DASK_CONFIG=$(cd "$(dirname "$0")" && pwd)/dask.yaml
export DASK_CONFIG

stop() {
    trap - EXIT INT TERM
    # Each helper leads a process group of its own, with the loop and what it started last.
    for process in $(jobs -p); do kill -- "-$process" 2>/dev/null || true; done
    wait || true
}
trap stop EXIT INT TERM
set -m

# Loops, because Dask's processes end when they lose each other: whoever ends comes back.
while true; do
    "$PYTHON" -m dask scheduler --host "$address" --port "$PORT" --no-dashboard || true
    sleep 1
done &
for index in "${!hosts[@]}"; do
    host=${hosts[$index]}
    worker="$REMOTE_PYTHON -m dask worker $engine --name $host-$index --nthreads $THREADS"
    $SSH "$host" "mkdir -p ~/.ayni && cat > ~/.ayni/dask.yaml" < "$DASK_CONFIG"
    # With -tt the loop over there ends when the connection does.
    $SSH -tt "$host" "export DASK_CONFIG=~/.ayni/dask.yaml
        while true; do $worker --memory-limit 0 --no-dashboard; sleep 1; done" < /dev/null &
done

set +m
"$@" --set "train.engine=$engine" --set "train.learners=${#hosts[@]}"
