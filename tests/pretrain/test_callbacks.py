"""NaN losses, SIGTERM, parameters that wait, full disks: what happens to a run, and what is left of it."""

import json
import os
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState

from finbert2 import training
from finbert2.pretrain import average, build, run
from finbert2.pretrain.callbacks import LossWatch
from finbert2.pretrain.options import PretrainingTrainingArguments
from tests.pretrain.test_run import flags, weights


def with_callback(monkeypatch, callback: TrainerCallback) -> None:
    """Let every run of the test carry a callback."""
    build_trainer = build.build_trainer

    def build_with(*parts):
        trainer = build_trainer(*parts)
        trainer.add_callback(callback)
        return trainer

    monkeypatch.setattr(build, "build_trainer", build_with)


class At(TrainerCallback):
    """Calls a function after a step."""

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Act at the step."""
        if state.global_step == self.step:
            self.action(model)


def spoil(model) -> None:
    """Make the weights no numbers."""
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.weight.fill_(float("nan"))


def stopped_with(code: int, arguments: list[str]) -> None:
    """Run and see the exit code."""
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == code


def test_a_loss_that_is_no_number_stops_the_run(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """The batch is named, the last good checkpoint stays, nothing is exported."""
    with_callback(monkeypatch, At(5, spoil))
    output = tmp_path / "out"
    stopped_with(2, flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "9",
                          "--save_steps", "4"))  # fmt: skip
    message = capsys.readouterr().err
    assert "the loss of step 6 (rows " in message
    assert " of epoch 0) is nan: training stopped; the last good checkpoint is " in message
    assert message.count("checkpoint-4") == 1
    assert "Lower --learning_rate" in message
    assert sorted(path.name for path in output.glob("checkpoint-*")) == ["checkpoint-4"]
    assert not (output / "model.safetensors").exists()


def test_damaged_weights_are_not_saved(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """Weights that turned to no numbers in the very step before a checkpoint are seen before it is written."""

    class Spoil(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step == 3:
                spoil(model)

    with_callback(monkeypatch, Spoil())
    output = tmp_path / "out"
    stopped_with(2, flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "9",
                          "--save_steps", "4"))  # fmt: skip
    assert "after step 4 bert.embeddings.LayerNorm.weight holds numbers that are none" in capsys.readouterr().err
    assert not list(output.glob("checkpoint-*"))


def test_the_best_and_the_mean_of_the_last_are_not_both_kept(tiny_bert, corpus_file, tmp_path, capsys):
    more = ("--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file), "--average_last", "3")
    stopped_with(2, flags(corpus_file, tmp_path / "o", *more, "--eval_strategy", "steps", "--eval_steps", "2",
                          "--save_steps", "2", "--load_best_model_at_end", "True"))  # fmt: skip
    told = "error: --average_last and --load_best_model_at_end each say which weights are kept: leave one out"
    assert capsys.readouterr().err.splitlines()[-1] == told


def test_a_full_disk_leaves_the_checkpoint_before_whole(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys):
    """A write that fails ends the run with what to do; what was written is gone; the run goes on from the other."""
    output = tmp_path / "out"
    more = ("--model_name_or_path", tiny_bert, "--max_steps", "8", "--save_steps", "3")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with monkeypatch.context() as patch:  # no file may grow beyond 50 kB any more
            with_callback(patch, At(5, lambda m: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))))
            stopped_with(2, flags(corpus_file, output, *more))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err
    assert "the checkpoint of step 6 could not be written (" in message
    assert f"free space in {output} and run the same command, which goes on from {output}/checkpoint-3" in message
    assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-3"]
    run.main(flags(corpus_file, output, *more))
    assert json.loads((output / "results.json").read_text(encoding="utf-8"))["steps"] == 8


def test_new_rows_learn_first(tiny_bert, corpus_file, tmp_path):
    """For the first steps only the embeddings and biases of added words move, bit by bit; decay is back afterwards."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "4", "--save_steps", "2",
                   "--new_rows_steps", "2"))  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    first_new = min(i for i, token in tokenizer.added_tokens_decoder.items() if not token.special)
    start = load_file(f"{tiny_bert}/model.safetensors")
    early, late = weights(output / "checkpoint-2"), weights(output)
    moved = {name for name in start if not torch.equal(start[name], early[name])}
    assert moved == {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"}
    for name in moved:
        assert torch.equal(start[name][:first_new], early[name][:first_new])
        assert not torch.equal(start[name][first_new:], early[name][first_new:])
    assert all(not torch.equal(late[name], start[name]) for name in start)
    groups = torch.load(output / "checkpoint-4" / "optimizer.pt", weights_only=True)["param_groups"]
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.01]


def test_decay_spares_norms_and_biases_and_gradients_are_clipped(tiny_bert, corpus_file, tmp_path, monkeypatch):
    """The optimizer's groups, RetroMAE's decoder in them, and the norm that arrives at the optimizer."""
    seen: dict[str, list] = {"norm": []}

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, optimizer=None, **kwargs):
            named = {id(p): name for name, p in model.named_parameters()}
            seen["groups"] = [
                {named[id(p)] for p in group["params"]}
                for group in optimizer.param_groups
                if group["weight_decay"] == 0
            ]
            seen["norm"].append(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())

    with_callback(monkeypatch, Look())
    run.main(flags(corpus_file, tmp_path / "out", "--model_name_or_path", tiny_bert, "--max_steps", "2",
                   "--objective", "retromae", "--max_grad_norm", "0.1"))  # fmt: skip
    (spared,) = seen["groups"]
    model = run.build.build_model(
        run.PretrainingArguments(train_data=[], objective="retromae", model_name_or_path=tiny_bert, max_seq_length=48),
        AutoTokenizer.from_pretrained(tiny_bert),
    )[0]
    assert spared == {name for name, _ in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name}
    assert any(name.startswith("enhanced_decoder") for name in spared)
    assert all(norm <= 0.1001 for norm in seen["norm"])


def test_a_frozen_encoder_lets_the_decoder_learn(tiny_bert, corpus_file, tmp_path):
    """RetroMAE's first steps: the encoder is as it was, the decoder is not."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--max_steps", "2", "--objective",
                   "retromae", "--frozen_encoder_steps", "2"))  # fmt: skip
    start, after = load_file(f"{tiny_bert}/model.safetensors"), weights(output)
    assert all(torch.equal(start[name], after[name]) for name in start)
    decoder = load_file(output / build.DECODER_FILE)
    first = start["bert.encoder.layer.1.attention.self.query.weight"]
    assert not torch.equal(decoder["attention.self.query.weight"], first)


def test_mean_weights_by_hand(tmp_path):
    """The newest two of three checkpoints, one of them cut off."""
    for step, value in ((2, 1.0), (10, 2.0), (30, 4.0), (40, 9.0)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({"w": torch.full((2,), value)}, folder / average.WEIGHTS)
        if step != 40:
            (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    found = average.last_checkpoints(tmp_path, 2)
    assert [path.name for path in found] == ["checkpoint-10", "checkpoint-30"]
    assert average.mean_weights(found)["w"].tolist() == [3.0, 3.0]


def test_averaging_keeps_the_better_weights(tiny_bert, corpus_file, tmp_path):
    """What is exported has the lower of the two held-out losses; as many checkpoints are kept as are wanted."""
    output = tmp_path / "out"
    run.main(flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--valid_data", str(corpus_file),
                   "--max_steps", "12", "--save_steps", "3", "--average_last", "3"))  # fmt: skip
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    found = results["averaging"]
    assert found["checkpoints"] == ["checkpoint-6", "checkpoint-9", "checkpoint-12"]
    assert found["kept"] == (found["loss_per_token"] < found["loss_per_token_of_the_last"])
    assert results["valid"]["loss_per_token"] == min(found["loss_per_token"], found["loss_per_token_of_the_last"])
    mean = average.mean_weights([output / name for name in found["checkpoints"]])
    expected = mean if found["kept"] else load_file(output / "checkpoint-12" / average.WEIGHTS)
    assert all(torch.equal(value, expected[name]) for name, value in weights(output).items())


@pytest.mark.parametrize(("warmup", "warned"), [(1000, True), (0.1, False), (11, False), (12, True)])
def test_a_warm_up_that_outlasts_the_run_is_told(tmp_path, caplog, warmup, warned):
    arguments = PretrainingTrainingArguments(output_dir=str(tmp_path), report_to="none", warmup_steps=warmup)
    state = TrainerState(max_steps=23)
    with caplog.at_level("WARNING"):
        LossWatch(str(tmp_path)).on_train_begin(arguments, state, TrainerControl())
    told = [record.getMessage() for record in caplog.records]
    assert told == ([
        f"the learning rate rises for {warmup} steps, the run has 23: give --warmup_steps 0.1, a share of the run"
    ] if warned else [])  # fmt: skip


@pytest.mark.parametrize("strategy", ["epoch", "no"])
def test_damage_in_the_last_step_is_not_exported(tiny_bert, corpus_file, tmp_path, monkeypatch, capsys, strategy):
    """An epoch's checkpoint and the end are looked at like every other checkpoint."""

    class Spoil(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step == state.max_steps - 1:
                spoil(model)

    with_callback(monkeypatch, Spoil())
    output, before = tmp_path / "out", signal.getsignal(signal.SIGTERM)
    try:
        stopped_with(2, flags(corpus_file, output, "--model_name_or_path", tiny_bert, "--num_train_epochs", "1",
                              "--save_strategy", strategy))  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "bert.embeddings.LayerNorm.weight holds numbers that are none" in capsys.readouterr().err
    assert not list(output.glob("checkpoint-*"))
    assert not (output / "model.safetensors").exists()


def test_parts_of_the_loss_are_of_the_steps_since_a_resume(tiny_bert, corpus_file, tmp_path, monkeypatch):
    """SIGTERM between two log lines: the next one's encoder and decoder losses still add up to its loss."""
    more = ("--model_name_or_path", tiny_bert, "--objective", "retromae", "--max_steps", "12", "--logging_steps", "6")
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        with_callback(patch, At(8, lambda model: os.kill(os.getpid(), signal.SIGTERM)))
        stopped_with(143, flags(corpus_file, output, *more))
    run.main(flags(corpus_file, output, *more))
    state = json.loads((output / "checkpoint-12" / training.STATE).read_text(encoding="utf-8"))
    logged = [entry for entry in state["log_history"] if "loss" in entry]
    assert [entry["step"] for entry in logged] == [6, 12]
    for entry in logged:
        assert entry["encoder_loss"] + entry["decoder_loss"] == pytest.approx(entry["loss"], abs=0.2)
