#!/usr/bin/env bash
# Run a command on a Dask cluster inside a Slurm job: one worker for each task of the job.
#
#   sbatch --ntasks=4 examples/clusters/slurm.sh ayni run job.yaml --yes
#
# The command gets --set train.engine=... and --set train.learners=... added. Needed: the same environment
# with Ayni on all nodes, which a shared file system gives. Slurm puts this script into its spool: DASK_CONFIG
# names dask.yaml, by default the one in examples/clusters below the folder where sbatch was called.
#
# Environment: PORT of the scheduler and PYTHON. A job that was preempted goes on with:
#   sbatch --ntasks=4 examples/clusters/slurm.sh ayni resume RUN
#SBATCH --job-name=ayni
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --open-mode=append
set -euo pipefail
PORT=${PORT:-8786} PYTHON=${PYTHON:-python3}
export DASK_CONFIG=${DASK_CONFIG:-$SLURM_SUBMIT_DIR/examples/clusters/dask.yaml}
engine="tcp://$(hostname):$PORT"

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# Loops, because Dask's processes end when they lose each other: whoever ends comes back.
while true; do
    "$PYTHON" -m dask scheduler --host "$(hostname)" --port "$PORT" --no-dashboard || true
    sleep 1
done &
# --overlap: the command below runs beside the workers. --no-kill: a node that dies takes only its own along.
srun --overlap --no-kill --kill-on-bad-exit=0 bash -c '
    while true; do
        "$0" -m dask worker "$1" --name "learner-$SLURM_PROCID" --nthreads "${SLURM_CPUS_PER_TASK:-1}" \
            --memory-limit 0 --no-dashboard
        sleep 1
    done' "$PYTHON" "$engine" &

"$@" --set "train.engine=$engine" --set "train.learners=$SLURM_NTASKS"
