"""Running the stages: local processes, Slurm or Ray, through datatrove's executors and their completion markers."""

import contextlib
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from tqdm import tqdm

from finbert2 import runtime
from finbert2.corpus.pipeline import Stage
from finbert2.errors import UserError

MEMORY_GB = 2  # what a task is given on a cluster; see docs/corpus_tokenizer.md for what one was measured to use


@dataclass(frozen=True)
class Resources:
    """Where and how wide to run."""

    executor: str
    num_proc: int
    slurm_partition: str
    slurm_time: str


def execute(stages: Sequence[Stage], work: Path, resources: Resources) -> bool:
    """Run the stages one after the other; tasks that an earlier, killed run finished are skipped.

    Returns whether all are done: on Slurm the jobs are submitted, and the same command collects their work later.
    Raises `UserError` with the message of the first task that failed.
    """
    if resources.executor == "slurm":
        return submit(stages, work, resources)
    if resources.executor == "ray":
        start_ray(resources)
    total = sum(stage.tasks for stage in stages)
    with messages_to(work / "datatrove.log") as terminal, tqdm(
        total=total, desc="corpus", unit="task", file=terminal
    ) as bar, watch(work, bar), runtime.term_as_exit():  # fmt: skip
        for stage in stages:
            executor = local(stage, work, resources) if resources.executor == "local" else ray(stage, work, resources)
            try:
                executor.run()
            except BrokenProcessPool:
                raise UserError(
                    f"a process was killed in the stage '{stage.name}', most often for want of memory: the same "
                    f"command goes on from there, with --num_proc {max(1, resources.num_proc // 2)} on less memory"
                ) from None
            check_finished(stage, executor, work)
    return True


def logs(stage: Stage, work: Path) -> str:
    """Return the folder of a stage's completion markers, statistics and log."""
    return str(work / "logs" / stage.name)


class Local(LocalPipelineExecutor):
    """datatrove's executor on processes of this machine, on a pool that says when one of them was killed.

    datatrove's own pool starts another process in the place of the dead one and waits for the lost task for ever.
    """

    def run(self) -> None:
        """Run the tasks that are not done; raises what the first that failed raised, and stops the others."""
        if self.workers == 1:
            super().run()
            return
        self.save_executor_as_json()
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(self.workers, context) as pool, contextlib.ExitStack() as unfinished:
            unfinished.callback(stop_workers)
            tasks = [
                pool.submit(self._run_for_rank, rank, place % self.workers)
                for place, rank in enumerate(self.get_incomplete_ranks())
            ]
            for task in as_completed(tasks):
                task.result()
            unfinished.pop_all()


def stop_workers() -> None:
    """Stop the processes of a pool, which would finish their tasks before an error or a signal is heard of."""
    for process in multiprocessing.active_children():
        process.terminate()


def local(stage: Stage, work: Path, resources: Resources) -> PipelineExecutor:
    """Return the executor on processes of this machine."""
    workers = min(resources.num_proc, stage.tasks)
    return Local(stage.steps, tasks=stage.tasks, workers=workers, logging_dir=logs(stage, work))


def start_ray(resources: Resources) -> None:
    """Join the Ray cluster that RAY_ADDRESS names, or start one on this machine."""
    try:
        import ray as ray_library
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'finbert2[ray]'") from None
    if not ray_library.is_initialized():
        alone: dict[str, Any] = (
            {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": resources.num_proc, "include_dashboard": False}
        )
        ray_library.init(log_to_driver=False, **alone)


def ray(stage: Stage, work: Path, resources: Resources) -> PipelineExecutor:
    """Return the executor on a Ray cluster."""
    from datatrove.executor.ray import RayPipelineExecutor

    return RayPipelineExecutor(
        stage.steps, tasks=stage.tasks, workers=resources.num_proc, logging_dir=logs(stage, work),
        mem_per_cpu_gb=MEMORY_GB,
    )  # fmt: skip


def submit(stages: Sequence[Stage], work: Path, resources: Resources) -> bool:
    """Submit a job array for each stage that is not done, each after the one before; return whether none was left."""
    from datatrove.executor.slurm import SlurmPipelineExecutor

    before, done = None, True
    for stage in stages:
        executor = SlurmPipelineExecutor(
            stage.steps, tasks=stage.tasks, workers=resources.num_proc, time=resources.slurm_time,
            partition=resources.slurm_partition, qos="", job_name=f"corpus-{stage.name}", mem_per_cpu_gb=MEMORY_GB,
            env_command=f'export PATH="{Path(sys.executable).parent}:$PATH"', logging_dir=logs(stage, work),
            depends=before,
        )  # fmt: skip
        if executor.get_incomplete_ranks():
            done = False
            try:
                executor.run()
            except FileNotFoundError:
                raise UserError("--executor slurm needs sbatch on the PATH: run it on a login node") from None
            before = executor
    return done


def check_finished(stage: Stage, executor: PipelineExecutor, work: Path) -> None:
    """Raise `UserError` if a task of a stage did not finish; executors on a cluster only log that."""
    missing = executor.get_incomplete_ranks()
    if missing:
        log = Path(logs(stage, work)) / "logs" / f"task_{missing[0]:05d}.log"
        raise UserError(message_in(log) or f"task {missing[0]} of the stage '{stage.name}' failed: see {log}")


def message_in(log: Path) -> str | None:
    """Return the message of the last `UserError` in a task's log."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    found = re.findall(r"^(?:finbert2\.errors\.)?UserError: (.+)$", text, re.M)
    return found[-1] if found else None


@contextlib.contextmanager
def watch(work: Path, bar: "tqdm[Any]") -> Iterator[None]:
    """Move the bar to the number of finished tasks, twice a second."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            bar.update(len(list(work.glob("logs/*/completions/*"))) - bar.n)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        bar.update(len(list(work.glob("logs/*/completions/*"))) - bar.n)


@contextlib.contextmanager
def messages_to(path: Path) -> Iterator[IO[str]]:
    """Send what datatrove and its processes log to a file and yield the terminal.

    They write to file descriptor 2 whatever one asks for, so that is what has to be turned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    standard = os.dup(2)
    with path.open("a", encoding="utf-8") as log, os.fdopen(standard, "w", encoding="utf-8") as terminal:
        os.dup2(log.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stderr.flush()
            os.dup2(standard, 2)
