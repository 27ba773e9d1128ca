"""Processes here, one of them killed; Slurm by its job scripts, and run by stand-ins for its commands; Ray here."""

import json
import os
import re
import signal
import stat
import sys
from pathlib import Path

import pytest
from datatrove.pipeline.base import PipelineStep

from finbert2 import files
from finbert2.corpus import execute, prepare
from finbert2.corpus.pipeline import Stage
from finbert2.errors import UserError
from tests.corpus.test_prepare import content, lines, prose, refused, write

SBATCH = """#!/bin/sh
# Stands in for Slurm's sbatch: keeps the script and its arguments, and answers with a number.
n=$(ls "{folder}" | wc -l)
for last; do :; done
cp "$last" "{folder}/$n.sh"
printf '%s\\n' "$@" > "{folder}/$n.args"
echo "Submitted batch job $n"
"""
SRUN = """#!/bin/sh
# Stands in for srun: drops its options and runs the rest.
while [ "${1#-}" != "$1" ]; do case $1 in -n) shift ;; esac; shift; done
exec "$@"
"""


def command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A PATH on which sbatch writes its scripts into a folder."""
    tools, scripts = tmp_path / "bin", tmp_path / "scripts"
    tools.mkdir()
    scripts.mkdir()
    command(tools, "sbatch", SBATCH.format(folder=scripts))
    command(tools, "srun", SRUN)
    command(tools, "scontrol", "#!/bin/sh\necho localhost\n")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return scripts


class Killed(PipelineStep):
    """Stands in for a step whose second task is killed for want of memory, until there is some."""

    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def run(self, data, rank=0, world_size=1):
        if rank == 1 and not self.memory.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        yield from ()


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_the_same_command_goes_on(tmp_path):
    stages = [Stage("clean", [Killed(tmp_path / "memory")], 3)]
    resources = execute.Resources("local", 2, "", "")
    with pytest.raises(UserError) as raised:
        execute.execute(stages, tmp_path, resources)
    assert str(raised.value) == (
        "a process was killed in the stage 'clean', most often for want of memory: the same command goes on from "
        "there, with --num_proc 1 on less memory"
    )
    (tmp_path / "memory").touch()
    assert execute.execute(stages, tmp_path, resources)
    assert len(list((tmp_path / "logs" / "clean" / "completions").iterdir())) == 3


def flags(source, output, *more):
    return ["--input", str(source), "--output_dir", str(output), "--num_proc", "1", *more]


ON_SLURM = ("--executor", "slurm", "--slurm_partition", "cpu", "--slurm_time", "01:30:00")


def test_each_stage_is_a_job_array_after_the_one_before(tmp_path, slurm, caplog):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(12)])
    with caplog.at_level("INFO"):
        prepare.main(flags(source, tmp_path / "o", *ON_SLURM))
    scripts = [path.read_text() for path in sorted(slurm.glob("*.sh"), key=lambda path: int(path.stem))]
    jobs = [script for script in scripts if "launch_pickled_pipeline" in script]
    names = [re.search(r"--job-name=(\S+)", job)[1] for job in jobs]
    assert names == ["corpus-clean", "corpus-candidates", "corpus-judge", "corpus-choose", "corpus-write"]
    assert [re.search(r"--array=(\S+)", job)[1] for job in jobs] == ["0-1%1", "0-1%1", "0-1%1", "0-0%1", "0-1%1"]
    for job, name in zip(jobs, names, strict=True):
        stage = name.removeprefix("corpus-")
        for line in (
            "#!/bin/bash", "#SBATCH --partition=cpu", "#SBATCH --time=01:30:00", "#SBATCH --cpus-per-task=1",
            "#SBATCH --mem-per-cpu=2G", f'export PATH="{Path(sys.executable).parent}:$PATH"',
        ):  # fmt: skip
            assert line in job.splitlines(), line
        picked = (tmp_path / "o" / ".work" / "logs" / stage / "executor.pik").absolute()
        assert job.rstrip().endswith(f"launch_pickled_pipeline {picked}")
    arguments = [path.read_text() for path in sorted(slurm.glob("*.args"), key=lambda path: int(path.stem))]
    waits = [re.search(r"--dependency=afterok:(\d+)", text) for text in arguments if "--export" in text]
    assert waits[0] is None and all(waits[1:])
    assert "the jobs are submitted; the same command, when they are done, writes results.json" in caplog.text
    assert not (tmp_path / "o" / "results.json").exists()


@pytest.mark.slow
def test_the_jobs_make_what_local_processes_make(tmp_path, slurm, monkeypatch):
    """Each script is run as Slurm would, task by task; the same command then collects the results."""
    import subprocess

    source = write(tmp_path / "a.jsonl", [prose(seed % 25) for seed in range(30)])
    prepare.main(flags(source, tmp_path / "local"))
    prepare.main(flags(source, tmp_path / "o", *ON_SLURM))
    root = Path(prepare.__file__).parents[2]
    for path in sorted(slurm.glob("*.sh"), key=lambda path: int(path.stem)):
        array = re.search(r"--array=0-(\d+)", path.read_text())
        if "launch_pickled_pipeline" not in path.read_text():
            continue
        for task in range(int(array[1]) + 1):
            env = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost", "RUN_OFFSET": "0"}
            subprocess.run(["bash", str(path)], env=env | {"PYTHONPATH": str(root)}, check=True, capture_output=True)
    prepare.main(flags(source, tmp_path / "o", *ON_SLURM))
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert results["documents_out"] == 25 and results["dropped"] == {"exact_duplicate": 5}
    assert content(tmp_path / "o") == content(tmp_path / "local")


def test_without_sbatch_the_user_is_told_where_to_go(tmp_path, capsys, monkeypatch):
    source = write(tmp_path / "a.jsonl", [prose(1)])
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(capsys, *flags(source, tmp_path / "o", *ON_SLURM))
    assert message == "error: --executor slurm needs sbatch on the PATH: run it on a login node\n"


@pytest.mark.slow
def test_ray_on_one_machine_makes_what_local_processes_make(tmp_path, capsys):
    ray = pytest.importorskip("ray")
    source = write(tmp_path / "a.jsonl", [prose(seed % 25) for seed in range(30)])
    bad = write(tmp_path / "b.jsonl", [prose(seed) for seed in range(5)])
    with bad.open("a") as file:
        file.write('{"text": 3}\n')
    try:
        prepare.main(flags(source, tmp_path / "local"))
        prepare.main(flags(source, tmp_path / "o", "--executor", "ray"))
        message = refused(capsys, *flags(bad, tmp_path / "p", "--executor", "ray"))
    finally:
        ray.shutdown()
    assert content(tmp_path / "o") == content(tmp_path / "local") and len(lines(tmp_path / "o", "train")) >= 20
    assert message.splitlines()[-1] == f"error: {bad.absolute()} line 6 has 3 for 'text': a text was expected"


def test_ray_that_is_not_installed_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    source = write(tmp_path / "a.jsonl", [prose(1)])
    message = refused(capsys, *flags(source, tmp_path / "o", "--executor", "ray"))
    assert message == "error: --executor ray needs Ray: pip install 'finbert2[ray]'\n"


def test_the_message_of_a_failed_task_is_found_in_its_log(tmp_path):
    log = tmp_path / "task.log"
    assert execute.message_in(log) is None
    files.write_text(log, "Traceback\n  File x\nfinbert2.errors.UserError: a line 3 is not UTF-8\n")
    assert execute.message_in(log) == "a line 3 is not UTF-8"
