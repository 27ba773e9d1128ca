# Sourced by quickstart.sh and test.sh from the root: makes .venv, installs the suite, sets $python.
#
#   FINBERT2_PYTHON=/path/to/python   use an interpreter you prepared (pip install -e '.[dev]'); nothing is installed
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu   on a machine without a GPU: PyTorch without CUDA

say() { printf '%s\n' "$*" >&2; }

usable() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do
    command -v "$candidate" >/dev/null 2>&1 && usable "$candidate" && { command -v "$candidate"; return; }
  done
  found=$(python3 --version 2>/dev/null || echo "no python3")
  say "error: Python 3.10 to 3.13 is needed, $found was found: install one of them, or name it by FINBERT2_PYTHON=..."
  exit 2
}

if [ -n "${FINBERT2_PYTHON:-}" ]; then
  python=$FINBERT2_PYTHON
  usable "$python" || { say "error: FINBERT2_PYTHON=$python is not a Python 3.10 to 3.13"; exit 2; }
  "$python" -c 'import torch, transformers, sentence_transformers, bertopic, datatrove, pymilvus' || {
    say "error: FINBERT2_PYTHON=$python lacks packages: run  $python -m pip install -e '.[dev]'"; exit 2; }
else
  python=.venv/bin/python
  # What was installed from: when neither changed, the second run starts at once.
  wanted=$(cat requirements.txt pyproject.toml | cksum)
  if [ ! -x "$python" ] || [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    base=$(find_python) || exit 2
    "$base" -c 'import venv, ensurepip' 2>/dev/null || {
      say "error: $base has no venv module: install it (Debian, Ubuntu: apt install python3-venv), or set FINBERT2_PYTHON"
      exit 2; }
    say "setting up .venv (a few minutes, once)"
    # One chain, whatever the caller does about errors: half an installation is never marked as a whole one.
    { [ -x "$python" ] || "$base" -m venv .venv; } &&
      "$python" -m pip install --quiet --disable-pip-version-check -r requirements.txt &&
      "$python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' &&
      printf '%s\n' "$wanted" > .venv/installed || {
      say "error: the installation failed, see above: mend the cause and run the same command again"; exit 2; }
  fi
fi
export FINBERT2_PYTHON="$("$python" -c 'import sys; print(sys.executable)')"
