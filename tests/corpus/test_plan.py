"""Runs that were killed, runs whose input changed, and runs that would read what they write."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest

from finbert2 import files
from finbert2.corpus import pipeline, plan, prepare
from tests.corpus.test_prepare import content, lines, prepared, prose, refused, write


@pytest.mark.parametrize("num_proc", [1, 2])  # another number of processes must not lose or repeat documents
def test_a_killed_run_goes_on(tmp_path, monkeypatch, num_proc):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(30)])
    whole = prepared(source, tmp_path / "whole")

    judge = pipeline.Clean.judge

    def interrupted(self, rank):
        judged = judge(self, rank)

        def at_17(number, doc):
            if doc.metadata["n"] == 17:
                raise KeyboardInterrupt
            return judged(number, doc)

        return at_17

    monkeypatch.setattr(pipeline.Clean, "judge", interrupted)
    with pytest.raises(SystemExit) as stopped:
        prepared(source, tmp_path / "killed")
    assert stopped.value.code == 130 and not (tmp_path / "killed" / "results.json").exists()
    assert len(list((tmp_path / "killed" / ".work").glob("logs/clean/completions/*"))) == 1  # of two tasks
    monkeypatch.undo()
    resumed = prepared(source, tmp_path / "killed", num_proc=num_proc)
    assert (resumed["documents_in"], resumed["documents_out"]) == (30, whole["documents_out"]) == (30, 30)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_sample():
    drawn = plan.sample(10, 3, seed=4)
    assert drawn.tolist() == sorted(set(drawn.tolist())) == plan.sample(10, 3, seed=4).tolist()
    assert len(drawn) == 3 and drawn.min() >= 0 and drawn.max() < 10


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_only_whole_files_and_goes_on(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed, 400) for seed in range(1500)])
    whole = prepared(source, tmp_path / "whole", num_proc=2)
    output, done = tmp_path / "killed", tmp_path / "killed" / ".work" / "logs" / "clean" / "completions"
    flags = ["--input", str(source), "--output_dir", str(output), "--num_proc", "2"]
    run = subprocess.Popen([sys.executable, "-m", "finbert2", "corpus", "prepare", *flags], start_new_session=True)
    while not list(done.glob("*")):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (output / "results.json").exists()
    cleaned = {path: path.stat().st_mtime_ns for path in (output / ".work" / "cleaned").glob("*.zst")}
    finished = {path.name for path in done.glob("*")}
    assert all(sum(1 for _ in files.read_lines(path)) for path in cleaned)  # whole: each unpacks to its end

    def compare(*arguments):
        for path, written in cleaned.items():
            assert path.name[:5] not in finished or path.stat().st_mtime_ns == written
        return summarise(*arguments)

    summarise = prepare.summarise
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prepare, "summarise", compare)
        resumed = prepared(source, output, num_proc=2)
    assert resumed["documents_out"] == whole["documents_out"] == 1500
    assert content(output) == content(tmp_path / "whole")


@pytest.mark.slow
def test_a_script_that_is_stopped_leaves_no_process_behind(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed, 400) for seed in range(1500)])
    script = Path(__file__).parents[2] / "FinBERT2" / "pretrain" / "prepare_corpus.sh"
    flags = ["--input", str(source), "--output_dir", str(tmp_path / "o"), "--num_proc", "2"]
    environment = os.environ | {"FINBERT2_PYTHON": sys.executable}
    run = subprocess.Popen(["sh", str(script), *flags], env=environment, start_new_session=True)
    while not list((tmp_path / "o").glob(".work/cleaned/.*.part")):
        assert run.poll() is None
        time.sleep(0.01)
    run.terminate()
    assert run.wait() == 143
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(run.pid, 0)  # the helpers of multiprocess end when they notice
            time.sleep(0.1)


def test_an_input_that_changed_after_the_kill_begins_anew(tmp_path, monkeypatch, caplog):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(6)])

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(prepare, "summarise", killed)
        prepared(source, tmp_path / "o")
    write(source, [prose(seed) for seed in range(3, 13)])
    with caplog.at_level("INFO"):
        results = prepared(source, tmp_path / "o")
    assert results["documents_out"] == len(lines(tmp_path / "o", "train") + lines(tmp_path / "o", "valid")) == 10
    assert "the input has changed since the run was interrupted" in caplog.text


@pytest.mark.parametrize("left", ["all", "without the logs", "without the plan"])
def test_a_kill_at_the_very_end_leaves_a_finished_run(tmp_path, monkeypatch, left):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(30)])

    def killed(work):
        if left == "without the plan":
            (work / "plan.json").unlink()
        if left != "all":
            shutil.rmtree(work / "logs")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(plan, "clear", lambda output: None)
        patched.setattr(plan, "remove", killed)
        prepared(source, tmp_path / "o")
    before = content(tmp_path / "o")
    results = prepared(source, tmp_path / "o", num_proc=3)
    assert results["documents_in"] == results["documents_out"] == 30 and content(tmp_path / "o") == before
    assert not (tmp_path / "o" / ".work").exists()


def test_without_a_plan_a_run_begins_anew_and_touches_no_other_file(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(5)])
    output = tmp_path / "o"
    for name in ("train/00009-000.jsonl.gz", "valid/.00009-000.jsonl.gz.part", "dropped/table.jsonl", ".work/logs/x"):
        files.write_text(output / name, "an earlier run")
    files.write_text(output / "train" / "notes.jsonl", "the user's")
    assert prepared(source, output)["documents_in"] == 5 == len(lines(output, "train") + lines(output, "valid"))
    assert not (output / "dropped" / "table.jsonl").exists() and not list(output.rglob("*.part"))
    assert (output / "train" / "notes.jsonl").read_text() == "the user's"


def test_what_is_removed_last_is_never_gone_on_with(tmp_path, monkeypatch):
    files.write_text(tmp_path / "plan.json", "{}")
    monkeypatch.setattr(shutil, "rmtree", lambda folder: None)  # a kill before the first file
    plan.remove(tmp_path)
    assert tmp_path.exists() and not (tmp_path / "plan.json").exists()


def test_another_input_after_a_finished_run_is_another_run(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", [prose(1)])
    os.utime(source, (1_700_000_000, 1_700_000_000))
    output = tmp_path / "o"
    size = source.stat().st_size
    prepared(source, output)
    write(source, [prose(1), prose(2)])
    os.utime(source, (1_700_000_060, 1_700_000_060))
    capsys.readouterr()  # what the runs before said
    assert refused(capsys, "--input", source, "--output_dir", output) == (
        f"error: {output} holds another run (--input {source} was '1 file of {size} bytes, changed 2023-11-14 22:13:20 "
        f"UTC', is '1 file of {source.stat().st_size:,} bytes, changed 2023-11-14 22:14:20 UTC'): "
        "choose another --output_dir, or remove this one to start anew\n"
    )


def test_what_others_keep_beside_a_saved_dataset_is_no_other_input(tmp_path):
    source, output = tmp_path / "saved", tmp_path / "o"
    datasets.Dataset.from_dict({"text": [prose(1), prose(2)]}).save_to_disk(str(source))
    before = prepared(source, output)
    datasets.load_from_disk(str(source)).map(lambda row: {"n": len(row["text"])})
    assert len(list(source.glob("*.arrow"))) == 2
    assert prepared(source, output) == before


def test_another_evaluation_file_after_a_finished_run_is_another_run(tmp_path, capsys):
    source, tests = write(tmp_path / "a.jsonl", [prose(1), prose(2)]), write(tmp_path / "t.jsonl", [prose(3)])
    flags = ("--decontaminate", str(tests))
    assert prepared(source, tmp_path / "o", *flags)["documents_out"] == 2
    write(tests, [prose(2), prose(3)])
    capsys.readouterr()  # what the run before said
    message = refused(capsys, "--input", source, "--output_dir", tmp_path / "o", *flags)
    assert message.startswith(f"error: {tmp_path / 'o'} holds another run (--decontaminate {tests} was '1 file of ")


def test_an_evaluation_file_that_changed_after_the_kill_begins_anew(tmp_path, monkeypatch):
    source, tests = write(tmp_path / "a.jsonl", [prose(1), prose(2)]), write(tmp_path / "t.jsonl", [prose(3)])
    flags = ("--decontaminate", str(tests))

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(prepare, "summarise", killed)
        prepared(source, tmp_path / "o", *flags)
    write(tests, [prose(2), prose(3)])
    assert prepared(source, tmp_path / "o", *flags)["dropped"] == {"evaluation_text": 1}


def test_an_evaluation_file_without_texts_is_told_before_anything_is_written(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", [prose(1)])
    (tmp_path / "t.csv").write_text("body\n" + prose(3) + "\n", encoding="utf-8")
    message = refused(capsys, "--input", source, "--output_dir", tmp_path / "o", "--decontaminate", tmp_path / "t.csv")
    assert message.startswith(f"error: --decontaminate {tmp_path}/t.csv: no text of 10 characters or more was found; ")
    assert not (tmp_path / "o").exists()


def test_a_run_that_would_read_what_it_writes_is_refused(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.jsonl", [prose(1)])
    for output in (folder, folder / "o"):
        assert refused(capsys, "--input", folder, "--output_dir", output) == (
            f"error: --output_dir {output} lies in --input {folder}: the run would read what it writes; "
            "choose a folder outside of it\n"
        )
    prepared(folder / "a.jsonl", folder)  # a file beside the output is no part of it
    shard = next((folder / "train").iterdir())
    capsys.readouterr()  # what that run said
    assert refused(capsys, "--input", shard, "--output_dir", folder) == (
        f"error: --input {shard} lies where the run writes, in {folder}: choose another --output_dir\n"
    )


def test_a_folder_with_a_link_to_what_the_run_writes_is_refused(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", [prose(1)])
    prepared(tmp_path / "in", tmp_path / "out")
    shard = next((tmp_path / "out" / "train").iterdir())
    (tmp_path / "in" / "cleaned").symlink_to(shard.parent)
    capsys.readouterr()
    assert refused(capsys, "--input", tmp_path / "in", "--output_dir", tmp_path / "out") == (
        f"error: --input {tmp_path / 'in' / 'cleaned' / shard.name} lies where the run writes, in {tmp_path / 'out'}: "
        "choose another --output_dir\n"
    )
