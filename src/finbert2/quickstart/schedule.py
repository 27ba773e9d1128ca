"""Which step runs when: alone with all cores, or two side by side where neither needs the other."""

import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from finbert2 import files
from finbert2.quickstart.plan import Step

PLACES = 2  # a small model leaves half of a second core idle, and starting Python all of it
LOOK = 0.05  # seconds between two looks at the running steps
CLEAR = "\r\x1b[K"  # to the beginning of the terminal's line, which a step's progress bar may have filled; empty it


class Process(Protocol):
    """What is asked of a running step."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self) -> int:
        """Wait until it has ended."""

    def terminate(self) -> None:
        """Stop it."""


def run_all(
    steps: Sequence[Step],
    output: Path,
    start: Callable[[Step, int | None], Process],
    check: Callable[[Step, int], None],
    result: Callable[[Step], str],
) -> tuple[dict[str, float], float]:
    """Run the steps that are not done yet, a line for each; return the seconds of every step and of the whole.

    `start` takes a step and its place beside another (0 or 1; None: it is alone), `check` raises what an exit code
    means, `result` returns what a step that has ended found out. After an error the other step is waited for; Ctrl-C
    reaches both, `SystemExit` (`runtime.term_as_exit`) stops both. An interrupted run adds to the seconds of the whole.
    """
    path = output / "seconds.json"
    record: dict[str, Any] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"whole": 0.0, "steps": {}}
    )
    seconds: dict[str, float] = record["steps"]
    before, began = record["whole"], time.perf_counter()
    waiting = sorted(steps, key=lambda step: -behind(step, steps))  # sorted is stable
    running: dict[int, tuple[Step, Process, float]] = {}
    ended: list[str] = []
    for step in steps:
        if step.name in seconds and is_done(step):
            waiting.remove(step)
            tell(step, "kept", seconds, ended, steps, result(step))
    try:
        while waiting or running:
            for step in startable(waiting, [step for step, _, _ in running.values()], ended):
                waiting.remove(step)
                place = min(set(range(PLACES)) - running.keys())
                running[place] = step, start(step, None if step.alone else place), time.perf_counter()
            for place, (step, process, started) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[place]
                check(step, code)
                seconds[step.name] = round(time.perf_counter() - started, 1)
                record["whole"] = round(before + time.perf_counter() - began, 1)
                files.write_json(path, record)
                tell(step, "done", seconds, ended, steps, result(step))
            time.sleep(LOOK)
    except SystemExit:
        for _, process, _ in running.values():
            process.terminate()
        raise
    finally:
        for _, process, _ in running.values():
            process.wait()  # it would meet the next run
    return seconds, record["whole"]


def tell(
    step: Step, note: str, seconds: dict[str, float], ended: list[str], steps: Sequence[Step], result: str
) -> None:
    """Print the line of a step that has ended."""
    ended.append(step.name)
    line = f"[{len(ended):>2}/{len(steps)}] {step.name:<30} {note} {seconds[step.name]:>6.1f} s  {result}"
    sys.stdout.write((CLEAR if sys.stdout.isatty() else "") + line.rstrip() + "\n")
    sys.stdout.flush()


def startable(waiting: Sequence[Step], running: Sequence[Step], ended: Collection[str]) -> list[Step]:
    """Return the first of the waiting steps that may start now: what they need has ended, and there is room."""
    chosen: list[Step] = []
    for step in waiting:
        beside = [*running, *chosen]
        if len(beside) == PLACES or any(one.alone for one in beside):
            break
        if (not step.after or step.after in ended) and not (step.alone and beside):
            chosen.append(step)
    return chosen


def behind(step: Step, steps: Sequence[Step]) -> int:
    """Return how many steps the longest chain behind this one has: those with long ones go first."""
    return max((1 + behind(other, steps) for other in steps if other.after == step.name), default=0)


def is_done(step: Step) -> bool:
    """Tell whether a step wrote its results."""
    return (step.output / step.results).exists()
