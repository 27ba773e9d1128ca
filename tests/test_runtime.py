"""What every process sets up for itself."""

import os
import platform
import subprocess
import sys

import pytest

RESIDENT = """
import sys
from pathlib import Path
from finbert2 import runtime

def pages(): return int(Path("/proc/self/statm").read_text().split()[1])

if sys.argv[1] == "kept":
    runtime.keep_freed_memory()
before = pages()
block = bytearray(b"x" * (64 << 20))
del block
print((pages() - before) * 4096 >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have their own ways")
def test_freed_memory_stays_with_the_process():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", RESIDENT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "plain")
    )
    assert kept >= 60 and given_back < 30  # MiB of 64, and of the copy they were made from


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to cores")
def test_cores_are_those_that_the_process_may_use():
    """Under Slurm or taskset a machine's other cores are somebody else's."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from finbert2 import runtime; " \
        "print(runtime.cores())"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
