"""The house: directions of imports, flags that are read, scripts whose flags exist, help that answers at once."""

import ast
import dataclasses
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers

from finbert2 import args, cli
from tests.surface import COMMANDS, ROOT, SCRIPTS, command_of, types_of

SOURCE = ROOT / "src" / "finbert2"
STAGES = {stage for stage, _, _ in cli.VERBS}


def imported(path: Path) -> set[str]:
    """Return the modules of the suite that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module == "finbert2"
                else {str(node.module)}
            )
    return {name for name in names if name.split(".")[0] == "finbert2"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    """No stage imports another, the ground floor imports no stage, nobody imports the command line."""
    parts = path.relative_to(SOURCE).parts
    room = parts[0] if len(parts) > 1 else "ground"
    for name in imported(path):
        target = name.split(".")[1] if "." in name else ""
        if room in STAGES or room == "samples":
            assert target not in (STAGES | {"samples", "quickstart"}) - {room}, f"{room} imports {name}"
        elif room == "ground":
            assert target not in STAGES | {"samples", "quickstart"}, f"the ground floor imports {name}"
        assert target != "cli" or path.name == "__main__.py", f"{path} imports the command line"


@pytest.mark.parametrize(("stage", "verb"), COMMANDS)
def test_every_flag_is_read(stage, verb):
    """Each declared option is used somewhere in its stage; HuggingFace's own are read by its Trainer."""
    theirs = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    source = "\n".join(path.read_text(encoding="utf-8") for path in (SOURCE / stage).glob("*.py"))
    for kind in types_of(stage, verb):
        for field in dataclasses.fields(kind):
            read = re.search(rf"\.{field.name}\b", source)
            assert field.name in theirs or read, f"{stage} {verb}: --{field.name} is declared and never read"


@pytest.mark.parametrize(("stage", "verb"), COMMANDS)
def test_every_command_takes_a_seed_and_helps(stage, verb, capsys):
    """`-h` prints the flags, each with a help line, and `--seed` is one of them."""
    types = types_of(stage, verb)
    fields = [field for kind in types for field in dataclasses.fields(kind)]
    assert "seed" in {field.name for field in fields}
    with pytest.raises(SystemExit) as stopped:
        args.parse(f"{stage} {verb}", "", ["-h"], *types)
    assert stopped.value.code == 0
    assert f"usage: finbert2 {stage} {verb} [flags]" in capsys.readouterr().out


def test_the_page_of_flags_is_the_dataclasses():
    """`make docs` was run after the last change of an option."""
    written = runpy.run_path(str(ROOT / "docs" / "write_flags.py"))
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == written["page"]()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_a_recipe_of_existing_flags(script):
    """Each flag of each script is a flag of its command, with a value that the dataclasses accept."""
    stage, verb, flags = command_of(script)
    types = types_of(stage, verb)
    names = {f"--{field.name}" for kind in types for field in dataclasses.fields(kind)}
    assert {flag for flag in flags if flag.startswith("--")} <= names
    args.parse(f"{stage} {verb}", "", flags, *types)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_posix_and_finds_its_folder(script):
    """Each script parses, stops on errors, goes to its own folder and leaves devices to the environment."""
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n")
    assert "set -eu\n" in text
    assert 'cd "$(dirname "$0")"\n' in text
    assert not re.search(r"^\s*(export )?(CUDA_VISIBLE_DEVICES|NPROC)=", text, re.M)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0


def test_every_command_of_the_design_has_its_script():
    """The scripts that users of the original know are there."""
    wanted = {
        "FinBERT2/pretrain/prepare_corpus.sh", "FinBERT2/pretrain_wordpiece_tokenizer/spm.sh",
        "FinBERT2/pretrain/run_mlm.sh", "FinBERT2/pretrain/run_retromae.sh", "Fin-labeler/runclassify.sh",
        "Fin-labeler/runner.sh", "Fin-labeler/predict.sh", "Fin-retriever/hn_mine.sh",
        "Fin-retriever/contrastive_finetune.sh", "Fin-retriever/evaluate.sh", "Fin-retriever/index.sh",
        "Fin-retriever/search.sh", "Fin-Topicmodel/run_topics.sh",
    }  # fmt: skip
    assert {str(path.relative_to(ROOT)) for path in SCRIPTS} == wanted


def test_help_answers_at_once():
    """`finbert2 -h` lists every verb without importing torch or transformers."""
    code = (
        "import sys; from finbert2.cli import main; main(['-h']);"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules), 'heavy imports'"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert time.perf_counter() - started < 3  # a loaded machine; 0.03 s on a free one
    assert all(f"{stage:<11}{verb}" in out for stage, verb in COMMANDS)


def test_an_unknown_command_is_refused(capsys):
    """Exit code 2 and the list of what there is."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["labeler", "dance"])
    assert stopped.value.code == 2
    assert "finbert2: error: there is no command 'labeler dance'" in capsys.readouterr().err


def test_ctrl_c_while_a_stage_is_imported_prints_no_traceback(monkeypatch, capsys):
    """The seconds of imports come before the verb's own handling."""

    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", interrupted)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["labeler", "train"])
    assert stopped.value.code == 130 and not capsys.readouterr().err


def test_sequence_inference_keeps_the_originals_use():
    """Without a model it explains itself; a mistake ends as those of the commands do."""
    script = ROOT / "Fin-labeler" / "sequence_inference.py"
    out = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert out.returncode == 2
    assert "python sequence_inference.py MODEL [TEXT ...]" in out.stderr
    out = subprocess.run([sys.executable, str(script), "./nowhere", "涨"], capture_output=True, text=True, check=False)
    assert out.returncode == 2 and out.stderr.startswith("error: ./nowhere is not a model folder")
    command = [sys.executable, str(script), "./nowhere"]
    broken = subprocess.run(command, input=b"\xd6\xd0\n", capture_output=True, check=False)
    assert broken.returncode == 2 and broken.stderr.startswith(b"error: standard input, line 1, is not UTF-8")


def test_requirements_have_floors_and_ceilings_and_reasons():
    """Each line bounds its package above and below; pyproject reads this very file."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert re.match(r"[\w-]+>=[\d.]+,<=?[\d.]+", line), line
    assert 'dependencies = { file = ["requirements.txt"] }' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
