#!/bin/sh
# 全部检查：ruff、mypy 与整套测试。后面的参数交给 pytest，例如：sh test.sh -k tokenizer；快的那些：sh test.sh -m "not slow"
set -eu
cd "$(dirname "$0")"
. ./setup.sh

"$FINBERT2_PYTHON" -m ruff check .
"$FINBERT2_PYTHON" -m ruff format --check .
"$FINBERT2_PYTHON" -m mypy
# One test process a core, each with one thread; a process that has no tests left takes some of the other's.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$FINBERT2_PYTHON" -m pytest -n auto --dist worksteal "$@"
