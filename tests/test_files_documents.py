"""Documents: of files, of folders and of saved datasets."""

from finbert2 import files
from finbert2.corpus import blocks
from tests.test_files import message, write


def test_folders_are_read_in_sorted_order_and_only_what_is_readable(tmp_path):
    for name in ("b.txt", "a/z.jsonl.gz", "a/a.csv", "notes.md", "c.txt.zst", ".b.txt.x1.part"):
        write(tmp_path / "d" / name, "")
    (tmp_path / "d" / "folder.json").mkdir()
    single = write(tmp_path / "one.md", "")
    names = [path.relative_to(tmp_path).as_posix() for path in files.expand([single, tmp_path / "d"])]
    assert names == ["one.md", "d/a/a.csv", "d/a/z.jsonl.gz", "d/b.txt", "d/c.txt.zst"]
    assert [path.name for path in files.expand([tmp_path / "d"], (".txt",))] == ["b.txt", "c.txt.zst"]


def test_linked_folders_are_read_and_each_once(tmp_path):
    write(tmp_path / "disk" / "2024" / "a.txt", "")
    write(tmp_path / "d" / "b.txt", "")
    (tmp_path / "d" / "news").symlink_to(tmp_path / "disk")
    (tmp_path / "d" / "twice").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "2024" / "circle").symlink_to(tmp_path / "d")
    names = [path.relative_to(tmp_path).as_posix() for path in files.expand([tmp_path / "d"])]
    assert names == ["d/b.txt", "d/news/2024/a.txt"]


def test_paths_with_nothing_behind_them(tmp_path):
    assert message(files.expand, [tmp_path / "no"]) == f"{tmp_path / 'no'} does not exist"
    assert message(files.expand, [tmp_path], (".txt",)) == (
        f"{tmp_path} holds no file that can be read (.txt; text also as .gz or .zst)"
    )


def test_documents_of_files_folders_and_saved_datasets(tmp_path):
    import datasets

    datasets.Dataset.from_list([{"text": "丙", "n": 1}, {"text": " "}]).save_to_disk(tmp_path / "saved")
    first = write(tmp_path / "a.jsonl", '{"text": "甲"}\n{"text": ""}\n')
    write(tmp_path / "d" / "b.txt", "乙\n")
    rows = list(files.read_documents([first, tmp_path / "d", tmp_path / "saved"]))
    assert [row.values["text"] for row in rows] == ["甲", "乙", "丙"]
    assert rows[2].values["n"] == 1 and rows[2].place == f"{tmp_path / 'saved'} row 1"


def test_documents_of_a_saved_dataset_with_splits(tmp_path):
    import datasets

    saved = datasets.DatasetDict({part: datasets.Dataset.from_dict({"text": [part]}) for part in ("train", "test")})
    saved.save_to_disk(tmp_path / "saved")
    rows = list(files.read_documents([tmp_path / "saved"]))
    assert [row.place for row in rows] == [f"{tmp_path}/saved/{part} row 1" for part in ("test", "train")]
    assert [row.values for row in rows] == [{"text": "test"}, {"text": "train"}]
    names = [f"{part}/data-00000-of-00001.arrow" for part in ("test", "train")]
    assert files.of_corpus([tmp_path / "saved"]) == [tmp_path / "saved" / name for name in names]


def test_documents_of_a_folder_that_holds_saved_datasets(tmp_path):
    """Their notes are JSON files, which were read as documents."""
    import datasets

    one = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("a", "train", "test")}
    one["a"].save_to_disk(tmp_path / "a")
    datasets.DatasetDict({part: one[part] for part in ("train", "test")}).save_to_disk(tmp_path / "c" / "d")
    write(tmp_path / "b" / "b.txt", "乙\n")
    write(tmp_path / "c" / "state.json", '{"text": "丙"}\n')
    places = ["a row 1", "b/b.txt line 1", "c/d/test row 1", "c/d/train row 1", "c/state.json line 1"]
    assert [row.place for row in files.read_documents([tmp_path])] == [f"{tmp_path}/{place}" for place in places]
    assert [path.name for path in blocks.sources([tmp_path])] == ["a", "b.txt", "test", "train", "state.json"]
    assert [path.suffix for path in files.of_corpus([tmp_path])] == [".arrow", ".txt", ".arrow", ".arrow", ".json"]


def test_a_saved_dataset_is_the_same_corpus_when_somebody_has_mapped_it(tmp_path):
    """The library keeps what it mapped beside the rows, and notes in state.json how they were last shown."""
    import datasets

    folder, other = tmp_path / "saved", write(tmp_path / "d" / "b.txt", "乙\n")
    datasets.Dataset.from_dict({"text": ["甲", "丙"]}).save_to_disk(folder)
    before = files.fingerprint(files.of_corpus([folder, other.parent]))
    datasets.load_from_disk(str(folder)).map(lambda row: {"size": len(row["text"])})
    assert any(path.name.startswith("cache-") for path in folder.iterdir())
    write(folder / "dataset_info.json", '{"description": "another"}')
    assert files.fingerprint(files.of_corpus([folder, other.parent])) == before
    assert list(before) == [str(folder / "data-00000-of-00001.arrow"), str(other)]


def test_documents_without_a_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "甲"}\n{"body": "乙"}\n')
    assert message(list, files.read_documents([path])) == (
        f"{path} line 2 has no 'text': it has 'body'; "
        "rename the column or field, or name yours by a flag if there is one (-h)"
    )
    write(path, '{"text": ["甲"]}\n')
    assert message(list, files.read_documents([path])) == (f"{path} line 1 has ['甲'] for 'text': a text was expected")
