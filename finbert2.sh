# Sourced by every script of a stage folder, after `cd "$(dirname "$0")"`: finds Python and the library.
#
#   finbert2 STAGE VERB FLAGS…   one process
#   launch STAGE VERB FLAGS…     training: one process, or torchrun when NPROC or NNODES asks for more
#
# Both take the script's place (exec): who stops the script, by its process id, stops the command.
#
# From the environment: FINBERT2_PYTHON (an interpreter you prepared), NPROC (processes on this machine), NNODES,
# NODE_RANK, MASTER_ADDR, MASTER_PORT, CUDA_VISIBLE_DEVICES.

# The scripts live one or two folders below the root.
root=..
[ -d "$root/src/finbert2" ] || root=../..
[ -d "$root/src/finbert2" ] && export PYTHONPATH="$(cd "$root" && pwd)/src${PYTHONPATH:+:$PYTHONPATH}"

# Threads that spin while they wait stop other processes: see src/finbert2/cli.py.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-2000}"

if [ -n "${FINBERT2_PYTHON:-}" ]; then python=$FINBERT2_PYTHON
elif [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python
else python=python3
fi

finbert2() { exec "$python" -m finbert2 "$@"; }

launch() {
  if [ "${NPROC:-1}" = 1 ] && [ "${NNODES:-1}" = 1 ]; then
    finbert2 "$@"
  else
    exec "$python" -m torch.distributed.run --nproc_per_node "${NPROC:-1}" --nnodes "${NNODES:-1}" \
      --node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${MASTER_PORT:-29500}" \
      -m finbert2 "$@"
  fi
}
