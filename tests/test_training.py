"""What training runs share: checkpoints, losses, cards."""

import json
import shutil
from types import SimpleNamespace

import pytest
from transformers import TrainingArguments

from finbert2 import cards, training
from finbert2.errors import UserError


def test_a_cut_off_checkpoint_is_passed_over(tmp_path):
    """Resuming takes the newest checkpoint that is whole, by number and not by name; a copy beside it is none."""
    for step, whole in ((900, True), (1000, True), (1100, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"x")
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}", encoding="utf-8")
    shutil.copytree(tmp_path / "checkpoint-900", tmp_path / "checkpoint-900-backup")
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1000")
    (tmp_path / "checkpoint-1000" / "trainer_state.json").write_text('{"epoch": 1', encoding="utf-8")
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-900"), "killed while it was written"
    assert training.last_checkpoint(tmp_path / "empty") is None


def test_a_run_starts_from_the_checkpoint_that_is_named(tmp_path):
    """Else from the newest whole one; a name that is none is refused."""
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "scheduler.pt").touch()
        state = json.dumps({"global_step": step})
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state, encoding="utf-8")
    arguments = TrainingArguments(output_dir=str(tmp_path))
    assert training.starting_point(arguments) == str(tmp_path / "checkpoint-10")
    arguments.resume_from_checkpoint = str(tmp_path / "checkpoint-5")
    assert training.starting_point(arguments) == str(tmp_path / "checkpoint-5")
    other = TrainingArguments(output_dir=str(tmp_path / "other"))
    other.resume_from_checkpoint = str(tmp_path / "checkpoint-5")
    shutil.copytree(tmp_path / "checkpoint-5", tmp_path / "other" / "checkpoint-5")
    assert training.starting_point(other) == str(tmp_path / "checkpoint-5")
    shutil.copytree(tmp_path / "checkpoint-10", tmp_path / "other" / "checkpoint-7")  # by its state of step 10
    assert training.starting_point(other) == str(tmp_path / "other" / "checkpoint-7"), "it went on from there"
    arguments.resume_from_checkpoint = "True"
    with pytest.raises(UserError) as refused:
        training.starting_point(arguments)
    assert str(refused.value) == (
        "--resume_from_checkpoint True is no whole checkpoint (there is no such folder): name a folder checkpoint-STEP "
        "of a run, or leave the flag out: the same command goes on from the newest one by itself"
    )


def test_first_and_last_are_means_of_the_ends():
    """5 % of the logged losses, one at least."""
    assert training.first_and_last([4.0, 3.0, 2.0]) == (4.0, 2.0)
    assert training.first_and_last([float(n) for n in range(100)]) == (2.0, 97.0)


def test_a_card_holds_recipe_data_and_numbers(tmp_path):
    """Options of the recipe, metrics and the data's digests; nothing else of the run."""
    options = {"learning_rate": 1e-3, "objective": "mlm", "hub_token": "secret", "max_steps": 5}
    results = {
        "loss_last": 2.5,
        "curve": {"step": [1]},
        "data": {"/data/corpus.jsonl": {"bytes": 7, "sha256": "ab" * 32}},
    }
    cards.write(tmp_path, "fin", 'AutoModel.from_pretrained("fin")', ["fill-mask"], options, results)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlanguage: zh\nlibrary_name: transformers\ntags:\n- finance\n- fill-mask\n---\n")
    for line in ("| learning_rate | 0.001 |", "| objective | mlm |", "| loss_last | 2.5 |"):
        assert line in text
    assert "| corpus.jsonl | 7 | abababababababab… |" in text
    assert "secret" not in text


def test_one_process_with_several_gpus_is_refused():
    training.need_one_gpu(SimpleNamespace(n_gpu=1), "run_mlm.sh")
    with pytest.raises(UserError) as raised:
        training.need_one_gpu(SimpleNamespace(n_gpu=2), "run_mlm.sh")
    assert str(raised.value) == (
        "2 GPUs are visible to one process: NPROC=2 sh run_mlm.sh, or choose one by CUDA_VISIBLE_DEVICES"
    )
