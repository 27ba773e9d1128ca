"""Both READMEs show the same code, and each block of it runs or parses."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surface import ROOT, SCRIPTS

CHINESE, ENGLISH = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_en.md"))
BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.S | re.M)
BLOCKS = [(kind.split(), code) for kind, code in BLOCK.findall(CHINESE)]
TREE = "quickstart.sh  test.sh "
SHELL = [code for kind, code in BLOCKS if kind[:1] == ["sh"]]


def test_both_readmes_carry_the_same_blocks():
    """Chinese first, English equal: the code is one, the tree of files is in each page's language."""
    pages = [BLOCK.findall(page) for page in (CHINESE, ENGLISH)]
    code, english = ([block for block in page if not block[1].startswith(TREE)] for page in pages)
    assert code == english
    assert len(code) == len(BLOCKS) - 1 > 10
    trees = [next(block[1] for block in page if block[1].startswith(TREE)) for page in pages]
    names, others = (re.findall(r"[\w./-]+(?:\.sh|\.py|\.ipynb|/)", tree) for tree in trees)
    assert names == others and len(names) > 20


@pytest.mark.parametrize("code", SHELL)
def test_a_shell_block_parses_and_names_existing_scripts(code):
    """`sh -n` accepts it, and every script in it is in the repository."""
    assert subprocess.run(["sh", "-n"], input=code, text=True, check=False).returncode == 0
    names = {path.name for path in SCRIPTS} | {"quickstart.sh", "test.sh"}
    assert set(re.findall(r"\bsh ([\w/]+\.sh)", code)) <= names


@pytest.mark.parametrize("code", [code for kind, code in BLOCKS if kind[:1] == ["python"]])
def test_a_python_block_parses_and_reads_existing_files(code):
    """The syntax is right and the files it opens are shipped."""
    ast.parse(code)
    for name in re.findall(r'open\("([^"]+)"', code):
        assert (ROOT / name).exists()


def test_blocks_that_need_the_hub_are_marked():
    """A block with a script whose default model lies on the Hub says so, unless it names a folder."""
    for kind, code in BLOCKS:
        if kind[:1] == ["sh"] and re.search(r"run_mlm|runclassify|hn_mine|run_topics|valuesimplex-ai-lab", code):
            assert "hub" in kind, code


def test_links_to_files_lead_somewhere():
    """Every relative link and picture of both pages exists."""
    for page in (CHINESE, ENGLISH):
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_suites_picture_is_what_its_command_draws_and_names_real_scripts(tmp_path):
    """Both languages; every script that a box names is one of the suite's."""
    program = tmp_path / "draw_suite.py"
    shutil.copy(ROOT / "pics" / program.name, program)
    subprocess.run([sys.executable, str(program)], check=True)
    for name in ("suite.svg", "suite_en.svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert drawn == (ROOT / "pics" / name).read_text(encoding="utf-8"), "run  make pics"
        scripts = set(re.findall(r"\w+\.sh", drawn))
        assert len(scripts) == 12 and scripts <= {path.name for path in SCRIPTS} | {"quickstart.sh"}


def test_the_quickstarts_numbers_come_from_the_results_file():
    """The table in the README is the one that the recorded run's results give."""
    from finbert2.quickstart.report import table

    results = json.loads((ROOT / "benchmarks" / "results" / "quickstart.json").read_text(encoding="utf-8"))
    shown = next(code for kind, code in BLOCKS if kind == ["text"] and "tokens per character" in code)
    assert [line.rstrip() for line in shown.splitlines()] == [line.rstrip() for line in table(results).splitlines()]


def test_the_retrievers_numbers_come_from_the_results_files():
    """What both pages say of the study's retrievers is in its records."""
    results = ROOT / "benchmarks" / "results"
    sets = json.loads((results / "retriever_quality.json").read_text(encoding="utf-8"))["sets"]
    encoder = json.loads((results / "domain_pretraining.json").read_text(encoding="utf-8"))["financial"]
    for page in (CHINESE, ENGLISH):
        assert f"{encoder['tokens_seen'] / 1e6:.0f} M" in page
        for arms in sets.values():
            found = arms["large_batch"]["mean_sd"]
            assert f"{found['bm25'][0]:.3f}" in page and f"{found['hybrid'][0]:.3f}" in page


@pytest.mark.slow
def test_the_corpus_and_tokenizer_block_runs(tmp_path):
    """The one block of a stage that needs no model is run as it stands, in a copy of the folders."""
    import os
    import shutil
    import sys

    code = next(code for code in SHELL if "prepare_corpus.sh" in code)
    for name in ("FinBERT2", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("outputs", "__pycache__"))
    shutil.copy(ROOT / "finbert2.sh", tmp_path)
    env = os.environ | {"FINBERT2_PYTHON": sys.executable}
    assert subprocess.run(["sh", "-e"], input=code, text=True, cwd=tmp_path, env=env, check=False).returncode == 0
    folder = Path(tmp_path) / "FinBERT2" / "pretrain_wordpiece_tokenizer" / "outputs" / "tokenizer"
    assert (folder / "tokenizer.json").exists()
