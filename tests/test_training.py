"""What training runs share: checkpoints, losses, cards."""

from finbert2 import cards, training


def test_a_cut_off_checkpoint_is_passed_over(tmp_path):
    """Resuming takes the newest checkpoint that is whole, by number and not by name."""
    for step, whole in ((900, True), (1000, True), (1100, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"x")
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1000")
    (tmp_path / "checkpoint-1000" / "trainer_state.json").write_text('{"epoch": 1', encoding="utf-8")
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-900"), "killed while it was written"
    assert training.last_checkpoint(tmp_path / "empty") is None


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
