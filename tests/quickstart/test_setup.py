"""`setup.sh`, `make install` and `quickstart.sh` in a folder of their own, with stand-ins for Python."""

import os
import shutil
import subprocess

import pytest
from transformers import RobertaConfig

from finbert2.quickstart import run

from .conftest import write

# Says yes to every question, names itself, and fails to install a file where a file `broken` says so.
STAND_IN = """#!/bin/sh
case "$*" in
  *sys.executable*) echo "$0" ;;
  *"pip install"*) echo "$*" >> pip.log; case "$*" in *"$(cat broken)"*) exit 1 ;; esac ;;
  *finbert2.quickstart*) echo "$FINBERT2_CALLED_FROM $*" ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """The root's files, with a `.venv` whose Python is the stand-in."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("setup.sh", "quickstart.sh", "Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(run.ROOT / name, folder)
    for name in (".venv/bin/python", "bin/python3"):
        write(folder / name, STAND_IN).chmod(0o755)
    return folder


def call(*command, cwd, **env):
    """Run a command that finds the stand-in as python3."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FINBERT2_PYTHON", "MODEL")}
    kept |= {"PATH": f"{cwd / 'bin'}:{os.environ['PATH']}", **env}
    return subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("broken", ["-r requirements.txt", "-e .[dev]"])
@pytest.mark.parametrize("command", [("make", "install"), ("sh", "-c", ". ./setup.sh"), ("sh", "-euc", ". ./setup.sh")])
def test_an_installation_that_failed_is_not_marked_and_is_made_again(clone, command, broken):
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]}")
    write(clone / "broken", broken)
    failed = call(*command, cwd=clone)
    assert failed.returncode and "error: the installation failed" in failed.stderr
    assert not (clone / ".venv" / "installed").exists()
    write(clone / "broken", "nothing")
    write(clone / "pip.log", "")
    assert call(*command, cwd=clone).returncode == 0
    assert len((clone / "pip.log").read_text(encoding="utf-8").splitlines()) == 2
    assert call(*command, cwd=clone).returncode == 0
    assert len((clone / "pip.log").read_text(encoding="utf-8").splitlines()) == 2


def test_the_quickstart_is_told_where_the_user_stands(clone):
    python = {"FINBERT2_PYTHON": str(clone / "bin" / "python3")}
    told = call("sh", "clone/quickstart.sh", "data", "--model", "mine", cwd=clone.parent, **python)
    assert told.stdout == f"{clone.parent} -m finbert2.quickstart data --model mine\n"


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_models_folder_is_relative_to_where_the_user_stands(tmp_path, monkeypatch, by):
    """Steps run in the stage folders, where a relative name would lead elsewhere."""
    (tmp_path / "outputs" / "mlm").mkdir(parents=True)
    monkeypatch.setenv("FINBERT2_CALLED_FROM", str(tmp_path))
    for name, expected in (("outputs/mlm", str(tmp_path / "outputs" / "mlm")), ("you/on-the-hub", "you/on-the-hub")):
        monkeypatch.setenv("MODEL", name if by == "variable" else "another")
        options = run.QuickstartArguments(model=name if by == "flag" else "")
        assert options.model == expected
    monkeypatch.delenv("FINBERT2_CALLED_FROM")
    monkeypatch.chdir(tmp_path)
    assert run.QuickstartArguments(model="outputs/mlm").model == str(tmp_path / "outputs" / "mlm")


def test_a_checkpoint_of_another_kind_is_refused_before_the_first_step(tmp_path, capsys):
    """Not after corpus and tokenizer, by the name of a folder that these made."""
    RobertaConfig().save_pretrained(tmp_path / "roberta")
    for model, told in (
        ("roberta", "is a 'roberta' model: a BERT checkpoint was expected\n"),
        ("none", "is not a model folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run.main(["--model", str(tmp_path / model), "--output_dir", str(tmp_path / "out")])
        assert stopped.value.code == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path / model} {told}")
    assert not (tmp_path / "out").exists()
