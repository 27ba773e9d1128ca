import json
from pathlib import Path

import pytest

from finbert2.labeler import search
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.labeler.search import SearchArguments

from .conftest import examples, flags, refused, results, run, write_csv

optuna = pytest.importorskip("optuna")


def parabola(trial) -> float:
    return -((trial.suggest_float("x", -5, 5) - 1) ** 2)


def test_a_killed_search_tries_what_an_uninterrupted_one_tries(tmp_path):
    whole = search.run(optuna, tmp_path / "a", SearchArguments(trials=12), "maximize", parabola)
    search.run(optuna, tmp_path / "b", SearchArguments(trials=7), "maximize", parabola)

    def killed(trial):
        parabola(trial)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.run(optuna, tmp_path / "b", SearchArguments(trials=12), "maximize", killed)
    again = search.run(optuna, tmp_path / "b", SearchArguments(trials=12), "maximize", parabola)
    assert [t.params for t in again.trials if t.value is not None] == [t.params for t in whole.trials]
    assert again.best_value == whole.best_value > -1


def test_a_loss_is_searched_for_its_lowest(tmp_path):
    study = search.run(optuna, tmp_path, SearchArguments(trials=12), "minimize", lambda trial: -parabola(trial))
    assert study.best_value == min(trial.value for trial in study.trials) < 1


def test_a_search_is_of_the_development_part_and_says_what_to_train_with(tiny_bert, tmp_path, monkeypatch, capsys):
    for name, count, seed in (("train", 24, 0), ("dev", 12, 1), ("test", 4, 2)):
        write_csv(tmp_path / f"{name}.csv", examples(count, seed))
    command = flags(tiny_bert, tmp_path, tmp_path / "o", "csv", "--max_steps", 6, "--trials", 2)
    message = refused(capsys, search.main, *command)
    assert message == (
        "error: --test_data, --seeds, --folds, --target_precision and --compare have no place in a search: name them "
        "when training with what was found\n"
    )
    assert refused(capsys, search.main, *command, "--test_data", "", "--push_to_hub", "True") == (
        "error: --push_to_hub: a search keeps no model; train with what it finds, and push that\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr(LabelerTrainingArguments, "world_size", 2)  # each process would try options of its own
        assert refused(capsys, search.main, *command, "--test_data", "") == (
            "error: a search trains in one process, each trial after another: start it without torchrun\n"
        )
    run(search.main, *command, "--test_data", "")
    found = results(tmp_path / "o")
    assert [Path(name).name for name in found["data"]] == ["train.csv", "dev.csv"]
    assert len(found["trials"]) == 2 and found["dev"] == max(trial["dev"] for trial in found["trials"])
    assert found["flags"].startswith("--learning_rate ") and not (tmp_path / "o" / "trial").exists()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["flags"] == found["flags"]
    assert set(found["best"]) <= set(LabelerTrainingArguments.__dataclass_fields__)
