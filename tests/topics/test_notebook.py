import csv
import os
from pathlib import Path

import pytest

from .conftest import sample_rows

FOLDER = Path(__file__).parents[2] / "Fin-Topicmodel"


@pytest.mark.slow
@pytest.mark.parametrize("place", [FOLDER, FOLDER.parent], ids=["own folder", "root"])
def test_notebook_runs_from_top_to_bottom(place, tmp_path, tiny_encoder, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    rows = sample_rows(300)
    with (tmp_path / "titles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    settings = {"MODEL": tiny_encoder, "TITLES": tmp_path / "titles.csv", "OUTPUT_DIR": tmp_path / "out"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(FOLDER / "Fin-Topicmodel.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    assert (tmp_path / "out" / "results.json").exists() and os.path.getsize(tmp_path / "out" / "map.svg") > 10_000


def test_notebook_defines_nothing_that_the_library_has():
    import nbformat

    code = [cell.source for cell in nbformat.read(FOLDER / "Fin-Topicmodel.ipynb", 4).cells if cell.cell_type == "code"]
    assert not any(line.lstrip().startswith(("def ", "class ")) for cell in code for line in cell.splitlines())
