"""An output made part by part, which an interrupted command goes on with and several processes share."""

import csv
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import arrow, files

log = logging.getLogger(__name__)
STATE = "made_from.json"


class Parts:
    """The folder `OUTPUT.parts` with a file of rows, and one of vectors, for each chunk of the input.

    `made_from` says what the parts depend on; parts of something else are thrown away. Process `rank` of `world`
    makes every `world`-th part; process 0 joins them.
    """

    def __init__(self, output: Path, made_from: dict[str, Any], rank: int = 0, world: int = 1) -> None:
        self.output, self.rank, self.world = output, rank, world
        self.folder = output.with_name(output.name + ".parts")
        self.made_from = json.loads(json.dumps(made_from))
        if rank == 0:
            self.begin()
        while self.state() != self.made_from:  # until process 0 has made room
            time.sleep(0.1)

    def begin(self) -> None:
        """Keep the parts of an interrupted run of the same command, else start anew."""
        if self.folder.exists() and self.state() != self.made_from:
            log.warning("%s is of another input, model or options: starting anew", self.folder)
            shutil.rmtree(self.folder)
        for mark in self.folder.glob("*.made"):
            mark.unlink()
        if done := len(list(self.folder.glob("*.rows"))):
            log.info("%s: going on after %d finished parts", self.folder, done)
        files.write_json(self.folder / STATE, self.made_from)

    def state(self) -> Any:
        """Return what the parts in the folder were made from, None for a folder without parts."""
        path = self.folder / STATE
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def mark(self, rank: int) -> Path:
        """Return the file that says that a process has made all its parts."""
        return self.folder / f"{rank}.made"

    def leave(self) -> None:
        """Say that this process has made its parts, and wait until process 0 has joined them.

        Process 0 waits for all of them: one that came to a folder taken away already would wait for it for ever.
        """
        there = True
        while there:
            # Process 0 takes old marks away as it begins, so the mark is made again; at the end the state goes first.
            marked = self.mark(self.rank).exists()
            there = (self.folder / STATE).exists()
            if there and not marked:
                self.mark(self.rank).touch()
            time.sleep(0.1)

    def is_mine(self, number: int) -> bool:
        """Tell whether this process makes a part."""
        return number % self.world == self.rank

    def path(self, number: int) -> Path:
        """Return the file of a part's rows; its suffix is not the output's, whose format it has."""
        return self.folder / f"{number:06d}.rows"

    def is_done(self, number: int) -> bool:
        """Tell whether a part is there."""
        return self.path(number).exists()

    def write(self, number: int, rows: list[dict[str, Any]], vectors: np.ndarray | None) -> None:
        """Write a part; its rows come last and say that it is whole."""
        if vectors is not None:
            np.save(self.folder / f"{number:06d}.npy", vectors)
        whole = self.folder / f".{number:06d}{self.output.suffix}"
        files.write_rows(whole, rows)
        os.replace(whole, self.path(number))

    def join(self, count: int, columns: Sequence[str], vectors: Path | None, bom: bool = False) -> None:
        """Make the output, and the file of vectors, from `count` parts once all are there, and remove the parts.

        `bom` begins the output with a byte-order mark; `columns` are those of an output without rows.
        """
        while not all(self.is_done(number) for number in range(count)) or not all(
            self.mark(rank).exists() for rank in range(1, self.world)
        ):
            time.sleep(0.1)
        if vectors:
            self.join_vectors(count, vectors)
        if count:
            files.write_atomically(self.output, lambda file: self.copy(count, file, bom))
        else:
            files.write_rows(self.output, [], columns)
        (self.folder / STATE).unlink()
        shutil.rmtree(self.folder)

    def copy(self, count: int, file: Any, bom: bool) -> None:
        """Write the parts' rows one after another, the CSV header once."""
        if self.output.suffix == arrow.PARQUET:
            arrow.join(file.buffer, [self.path(number) for number in range(count)])
            return
        file.write("\ufeff" if bom else "")
        for number in range(count):
            with self.path(number).open(encoding="utf-8", newline="") as part:
                if number and self.output.suffix == ".csv":
                    next(csv.reader(part))  # not a line: a name may hold a line break
                shutil.copyfileobj(part, file)

    def join_vectors(self, count: int, path: Path) -> None:
        """Write one array (texts, width) from the parts', through the disk: it may be larger than memory."""
        arrays = [np.load(self.folder / f"{number:06d}.npy", mmap_mode="r") for number in range(count)]
        rows, width = sum(map(len, arrays)), arrays[0].shape[1] if arrays else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if not rows:
            np.save(path, np.zeros((0, width), dtype=np.float32))
            return
        temporary = path.with_name(f".{path.name}.part")
        whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(rows, width))
        start = 0
        for array in arrays:
            whole[start : start + len(array)] = array
            start += len(array)
        whole.flush()
        os.replace(temporary, path)

    def forget_if_empty(self) -> None:
        """Remove the folder if no part was finished."""
        if self.rank == 0 and not any(self.folder.glob("*.rows")):
            shutil.rmtree(self.folder, ignore_errors=True)
