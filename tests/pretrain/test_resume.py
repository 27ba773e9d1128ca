"""Going on from a checkpoint: the order on several processes, another number of them, a checkpoint that is named."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import prepare_data_loader, skip_first_batches

from finbert2.pretrain import build, checkpoint, run
from finbert2.pretrain.options import PretrainingArguments, PretrainingTrainingArguments
from tests.pretrain.test_run import flags, refused, weights


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_resume_in_the_order_of_the_epoch(tiny_bert, corpus_file, tmp_path, monkeypatch, rank):
    """In the middle of the second epoch, through accelerate's wrappers: its rows and its masks, not the first one's."""
    options = PretrainingArguments(
        train_data=[str(corpus_file)], model_name_or_path=tiny_bert, max_seq_length=48, row_length=96
    )
    arguments = PretrainingTrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=2, num_train_epochs=3, report_to="none", bf16=False
    )
    tokenizer = checkpoint.load_tokenizer(tiny_bert)
    rows, _ = build.load_rows(options, tokenizer, tmp_path, 0)
    trainer = build.build_trainer(build.build_model(options, tokenizer)[0], tokenizer, rows, None, options, arguments)
    share = {"num_processes": 2, "process_index": rank, "put_on_device": False}
    monkeypatch.setattr(trainer.accelerator, "prepare", lambda loader: prepare_data_loader(loader, **share))
    whole = trainer.get_train_dataloader()
    whole.set_epoch(1)
    expected = [(str(batch["origin"]), batch["input_ids"].tolist()) for batch in whole]
    trainer.state.epoch = 1 + 2 / len(expected)
    resumed = skip_first_batches(trainer.get_train_dataloader(), 2)
    trainer.callback_handler.on_epoch_begin(trainer.args, trainer.state, trainer.control)
    resumed.set_epoch(1)  # as the Trainer does
    assert len(expected) > 3
    assert [(str(batch["origin"]), batch["input_ids"].tolist()) for batch in resumed] == expected[2:]


def test_another_number_of_processes_is_refused(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """Where a checkpoint is in the corpus is counted in steps: rows would be left out or met twice.

    A finished run is not gone on with, so it does not matter there.
    """
    output, more = tmp_path / "out", ("--model_name_or_path", tiny_bert, "--max_steps", "1")
    run.main(flags(corpus_file, output, *more, "--gradient_accumulation_steps", "3"))
    monkeypatch.setattr(PretrainingTrainingArguments, "world_size", 2)
    (output / "results.json").rename(tmp_path / "results.json")
    assert refused(flags(corpus_file, output, *more, "--gradient_accumulation_steps", "3"), capsys) == (
        f"error: {output} holds another run (rows a step (NPROC × NNODES × --per_device_train_batch_size × "
        "--gradient_accumulation_steps) was 6, is 12): choose another --output_dir, or remove this one to start anew\n"
    )
    (tmp_path / "results.json").rename(output / "results.json")
    run.main(flags(corpus_file, output, *more, "--gradient_accumulation_steps", "3"))


def test_a_checkpoint_that_is_named_is_gone_on_from(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """Not the newest one; one that is not there or cut off is refused before anything is tokenised."""
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "5", "--save_steps", "2", "--save_total_limit", "9")
    whole, other = tmp_path / "whole", tmp_path / "other"
    run.main(flags(corpus_file, whole, *more))
    seen, summarise = [], run.summarise
    monkeypatch.setattr(run, "summarise", lambda *parts: seen.append(parts[-1]) or summarise(*parts))
    (whole / "checkpoint-2").rename(tmp_path / "kept")  # its name does not say its step
    run.main(flags(corpus_file, other, *more, "--resume_from_checkpoint", str(tmp_path / "kept")))
    assert seen == [2]
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(whole).items())
    (tmp_path / "kept" / "trainer_state.json").unlink()
    for name, found in (("kept", "its trainer_state.json is missing or cut off"), ("gone", "there is no such folder")):
        command = flags(corpus_file, tmp_path / "new", *more, "--resume_from_checkpoint", str(tmp_path / name))
        assert refused(command, capsys) == (
            f"error: --resume_from_checkpoint {tmp_path / name} is no whole checkpoint ({found}): name a folder "
            "checkpoint-STEP of a run, or leave the flag out: the same command goes on from the newest one by itself\n"
        )
        assert list(tmp_path.glob("new/tokens/train-*")) == []


def test_a_changed_corpus_is_another_run(tiny_bert, corpus_file, tmp_path, capsys, caplog):
    """Finished or interrupted: rows in another order would be trained on from a step in the middle."""
    output, valid = tmp_path / "out", tmp_path / "valid.txt"
    valid.write_text("央行下调存款准备金率。\n", encoding="utf-8")
    command = flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "2", "--valid_data",
                    str(valid))  # fmt: skip
    run.main(command)
    caplog.set_level("INFO")
    run.main(command)
    assert caplog.messages == [f"{output} holds the finished run: nothing to do"]
    for path, flag in ((corpus_file, "train_data"), (valid, "valid_data")):
        whole = path.read_text(encoding="utf-8")
        for _ in ("finished", "interrupted"):
            path.write_text(whole.replace("央行", "央企"), encoding="utf-8")
            assert re.fullmatch(
                rf"error: {output} holds another run \(the content of --{flag} was '\w{{12}}', is '\w{{12}}'\): "
                r"choose another --output_dir, or remove this one to start anew\n", refused(command, capsys),
            )  # fmt: skip
            path.write_text(whole, encoding="utf-8")
            (output / "results.json").unlink(missing_ok=True)
    run.main(command)
    assert (output / "results.json").exists()


def test_the_speed_is_that_of_this_call():
    """8 steps of 2 × 3 rows of 100 half-filled slots; the last two of them, here, took 2 seconds."""
    windows = SimpleNamespace(tokens=0, characters=0)
    trainer = SimpleNamespace(
        train_dataset=SimpleNamespace(row_length=100, fill=0.5, windows=windows),
        state=SimpleNamespace(global_step=8, log_history=[{"train_runtime": 2.0}]), rows_met=lambda steps: 6 * steps,
    )  # fmt: skip
    results = run.summarise(trainer, {}, {}, resumed=6)
    assert (results["tokens_seen"], results["tokens_per_second"], results["resumed_at_step"]) == (2400, 300, 6)


def test_a_saved_dataset_is_fingerprinted_by_its_rows(tiny_bert, corpus_file, tmp_path):
    """Its arrow files, not the small JSON files beside them; the held-out texts are named too."""
    import datasets

    datasets.Dataset.from_dict({"text": ["央行下调存款准备金率。"] * 9}).save_to_disk(tmp_path / "saved")
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "1", "--valid_data", str(corpus_file))
    run.main(flags(tmp_path / "saved", tmp_path / "out", *more))
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    names = {path.rpartition("/")[2] for path in results["data"]}
    assert names == {"data-00000-of-00001.arrow", "corpus.jsonl"}


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(tiny_bert, corpus_file, tmp_path, capsys):
    """The optimizer and the learning rate would begin anew in the middle; the checkpoint of the last step is enough."""
    output = tmp_path / "out"
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "4", "--save_steps", "2", "--save_only_model", "True")
    run.main(flags(corpus_file, output, *more))
    whole = weights(output)
    (output / "results.json").unlink()
    run.main(flags(corpus_file, output, *more))
    assert all(torch.equal(whole[name], weights(output)[name]) for name in whole)
    (output / "results.json").unlink()
    shutil.rmtree(output / "checkpoint-4")
    assert refused(flags(corpus_file, output, *more), capsys) == (
        f"error: {output / 'checkpoint-2'} holds weights alone, as --save_only_model wants it: no run goes on from "
        "there as it would have. Start another by --model_name_or_path, in another --output_dir, or remove this folder "
        "to start anew\n"
    )


def test_a_run_shorter_than_its_logging_knows_its_loss_after_a_kill(tiny_bert, corpus_file, tmp_path):
    """The Trainer's own mean is of the steps since it went on: none, when all were made."""
    output, more = tmp_path / "out", ("--model_name_or_path", tiny_bert, "--max_steps", "3")
    run.main(flags(corpus_file, output, *more, "--logging_steps", "50"))
    results = json.loads((output / "results.json").read_text())
    assert results["curve"]["step"] == [3] and results["loss_first"] > 1
    (output / "results.json").unlink()
    run.main(flags(corpus_file, output, *more, "--logging_steps", "50"))
    again = json.loads((output / "results.json").read_text())
    assert [again[name] for name in ("loss_first", "loss_last", "curve")] == [
        results[name] for name in ("loss_first", "loss_last", "curve")
    ]
