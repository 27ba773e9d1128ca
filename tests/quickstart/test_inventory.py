import json
import shutil

import pytest

from finbert2 import files
from finbert2.errors import UserError
from finbert2.quickstart import inventory, run
from finbert2.quickstart.inventory import data_folder
from finbert2.retriever.data import read_training_rows

from .conftest import TOPICS, beir, jsonl, training_rows, write

NAMES = "rename the column or field, or name yours by a flag if there is one (-h)"


def message(call, *arguments) -> str:
    with pytest.raises(UserError) as raised:
        call(*arguments)
    return str(raised.value)


def test_every_part_is_found(folder):
    found = data_folder(folder)
    assert [path.name for path in found.corpus] == ["a.jsonl", "b.txt"]
    assert [path.name for path in found.valid] == ["valid.jsonl"]
    assert set(found.classification) == {"mood", "plain"} and set(found.ner) == {"company"}
    assert found.titles == folder / "topic" / "titles.csv" and found.absent == []
    texts = [row.values["text"] for row in files.read_documents([folder / "corpus"])]
    assert found.characters == len("".join(texts)) and len(texts) == 32


def test_retrieval_sets_of_every_kind(folder):
    sets = data_folder(folder).retrieval
    assert {name: (one.folder is not None, len(one.rows)) for name, one in sets.items()} == {
        "full": (True, 6), "judged": (True, 2), "only_test": (True, 0), "only_train": (False, 3),
    }  # fmt: skip


def test_training_judgements_become_rows(folder):
    rows = data_folder(folder).retrieval["judged"].rows
    assert [(row.query, row.positives, row.negatives) for row in rows] == [
        (f"{topic}需求", [f"{topic}\n需求回升。"], []) for topic in TOPICS[2:]
    ]


@pytest.mark.parametrize("part", ["corpus", "classification", "ner", "retrieval", "topic"])
def test_a_part_that_is_absent_is_listed(folder, part):
    shutil.rmtree(folder / part)
    assert data_folder(folder).absent == [part]


def test_one_part_alone_is_enough(folder, tmp_path):
    shutil.copytree(folder / "topic", tmp_path / "other" / "topic")
    assert data_folder(tmp_path / "other").absent == ["corpus", "classification", "ner", "retrieval"]


def test_rows_of_a_task_of_several_labels_may_have_one_or_none_in_test(folder):
    """Whether there are several is what the training file says, as in training."""
    task = folder / "classification" / "mood"
    write(task / "train.csv", "text,label\n甲,利好|业绩\n乙,利空\n丙,业绩\n")
    write(task / "dev.csv", "text,label\n甲,利好\n")
    write(task / "test.csv", "text,label\n丁,\n戊,利空\n")
    assert "mood" in data_folder(folder).classification


# What is wrong with a folder: the file that is written over (None: removed), its content, the message.
BROKEN = {
    "missing column": (
        "classification/mood/dev.csv", "text,lable\n甲,利好\n",
        "{path} line 2 has no 'label': it has 'text', 'lable'; " + NAMES,
    ),
    "empty classification file": (
        "classification/mood/train.csv", "",
        "{path} has no rows: a header `text,label` and at least one row were expected",
    ),
    "label only in test": (
        "classification/mood/test.csv", "text,label\n甲,利好\n乙,中性\n",
        "{path} has labels that the training data has not: '中性' (1 rows); training knows 利好, 利空: "
        "correct the labels, add rows with them to the training file, or put its labels.csv "
            "beside the file",
    ),
    "several labels only in test": (
        "classification/mood/test.csv", "text,label\n甲,利好\n乙,利好|利空\n",
        "{path} line 3 has several labels (利好|利空), the training data has one a row: choose one",
    ),
    "one label": (
        "classification/mood/train.csv", "text,label\n甲,利好\n",
        "the training data has one label only (利好): a classifier needs two or more",
    ),
    "no test file": (
        "classification/mood/test.csv", None,
        "{path.parent} has no test.csv: a task is a folder with train.csv, test.csv and, if you have it, dev.csv",
    ),
    "tag only in test": (
        "ner/company/test.txt", "张 B-PER\n",
        "{path} has tags that the training data has not: B-PER; training knows O, B-ORG, I-ORG: "
        "correct the tags, or add sentences with them to the training file",
    ),
    "no CoNLL": (
        "ner/company/train.txt", "中 B-ORG\n中信证券\n",
        "{path} line 2 is '中信证券': one character, a blank or tab and a tag (O, B-TYPE or I-TYPE) were expected",
    ),
    "empty corpus file": (
        "corpus/b.txt", "\n",
        "{path} holds no text: one object with 'text' a line was expected; fill or remove the file",
    ),
    "malformed JSON in line 17": (
        "corpus/a.jsonl", '{"text": "甲"}\n' * 16 + '{"text": "乙"\n' + '{"text": "丙"}\n',
        "{path} line 17 is not JSON (Expecting ',' delimiter at column 13): "
        "each line has to be one whole object; mend or remove the line",
    ),
    "not UTF-8": (
        "corpus/b.txt", "甲\n乙\n".encode() + "营业收入".encode("gb18030"),
        "{path} line 3 is not UTF-8 (invalid continuation byte, byte 0xca): "
        "convert the file, for example: iconv -f GB18030 -t UTF-8 b.txt > b.utf8.txt",
    ),
    "a corpus without its field": (
        "corpus/a.jsonl", '{"content": "甲"}\n', "{path} line 1 has no 'text': it has 'content'; " + NAMES,
    ),
    "unknown passage": (
        "retrieval/full/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq0\tp0\t1\nq1\tp99\t1\n",
        "{path} line 3 names the passage 'p99', which corpus.jsonl lacks: add it or remove the line",
    ),
    "unknown passage in dev": (
        "retrieval/full/qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq0\tp99\t1\n",
        "{path} line 2 names the passage 'p99', which corpus.jsonl lacks: add it or remove the line",
    ),
    "empty passages": (
        "retrieval/full/corpus.jsonl", '{"_id": "p0", "text": ""}\n',
        "{path} line 1 has '' for 'text': a text was expected; fill or drop the row",
    ),
    "no queries": (
        "retrieval/full/queries.jsonl", None,
        "{path.parent} has no queries.jsonl: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/",
    ),
    "row without positives": (
        "retrieval/only_train/rows.jsonl", '{"query": "甲", "pos": []}\n',
        "{path} line 1 has no positives ('pos' is an empty list): give at least one, or remove the row",
    ),
    "no title column": (
        "topic/titles.csv", "name\n甲\n", "{path} line 2 has no 'title' or 'metadata': it has 'name'; " + NAMES,
    ),
    "few titles": (
        "topic/titles.csv", "title\n" + "甲\n" * 30,
        "{path} has 1 distinct titles in 30 rows (0 of them empty): at least 20 are needed; give more titles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_wrong_thing_is_told_and_nothing_is_written(folder, tmp_path, capsys, name):
    place, content, expected = BROKEN[name]
    path = folder / place
    path.unlink() if content is None else write(path, content)
    expected = expected.format(path=path)
    assert message(data_folder, folder) == expected
    with pytest.raises(SystemExit) as stopped:
        run.main([str(folder), "--output_dir", str(tmp_path / "out")])
    assert stopped.value.code == 2 and not (tmp_path / "out").exists()
    assert capsys.readouterr().err == f"error: {expected}\n"


def test_what_is_no_data_folder(tmp_path):
    assert message(data_folder, tmp_path / "no") == (
        f"{tmp_path / 'no'} is not a folder: name one with corpus/, classification/, ner/, retrieval/ or topic/"
    )
    assert message(data_folder, tmp_path) == (
        f"{tmp_path} has none of corpus/, classification/, ner/, retrieval/, topic/titles.csv: see README.md"
    )
    (tmp_path / "corpus").mkdir()
    assert message(data_folder, tmp_path) == (
        f"{tmp_path / 'corpus'} holds no file that can be read (.jsonl, .txt, .parquet; text also as .gz or .zst)"
    )


def test_a_mistaken_flag_of_the_quickstart(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main([str(folder), "--output", "x"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("finbert2 quickstart: error: there is no flag --output; did you mean --o")


def test_the_sample_data_is_whole():
    found = inventory.sample_data(run.ROOT)
    assert all(path.exists() for path in found.files()) and found.absent == []
    assert "finetune_traindata_sample.json" in {path.name for path in found.files()}
    assert found.characters > 100_000 and found.retrieval["sample_beir"].rows
    for name, folder in found.classification.items():
        inventory.check_classification(folder)
        assert (folder / "test.csv").exists(), name
    for folder in found.ner.values():
        inventory.check_ner(folder)


def test_a_sample_of_rows_is_drawn_by_the_seed(tmp_path):
    rows, _ = read_training_rows([jsonl(tmp_path / "all.jsonl", training_rows(30))])
    for name, limit, seed in (("a", 10, 1), ("b", 10, 1), ("c", 10, 2), ("d", 30, 1), ("e", 99, 1)):
        inventory.write_sample(rows, limit, seed, tmp_path / f"{name}.jsonl")
    read = {name: read_training_rows([tmp_path / f"{name}.jsonl"])[0] for name in "abcde"}
    assert read["a"] == read["b"] != read["c"] and len(read["a"]) == len({row.query for row in read["c"]}) == 10
    assert read["d"] == read["e"] == rows


def test_a_sample_of_titles_keeps_order_and_columns(folder, tmp_path):
    titles = folder / "topic" / "titles.csv"
    for name, limit, seed in (("a", 10, 1), ("b", 10, 1), ("c", 10, 2), ("d", 99, 1)):
        inventory.write_title_sample(titles, limit, seed, tmp_path / f"{name}.csv")
    read = {name: [row.values for row in files.read_rows(tmp_path / f"{name}.csv")] for name in "abcd"}
    assert read["a"] == read["b"] != read["c"] and [len(read[name]) for name in "acd"] == [10, 10, 25]
    numbers = [int(row["title"][2:]) for row in read["a"]]
    assert numbers == sorted(numbers) and set(read["a"][0]) == {"title", "industry"}


def test_the_fingerprint_follows_the_content(folder, tmp_path):
    before = inventory.fingerprint(data_folder(folder))
    shutil.copytree(folder, tmp_path / "moved")
    assert inventory.fingerprint(data_folder(tmp_path / "moved")) == before and len(before) == 16
    with (folder / "corpus" / "b.txt").open("a", encoding="utf-8") as file:
        file.write("又一行。\n")
    assert inventory.fingerprint(data_folder(folder)) != before


def test_parts_that_change_places_are_other_data(folder):
    task = folder / "classification" / "mood"
    write(task / "test.csv", "text,label\n丙,利好\n")
    before = inventory.fingerprint(data_folder(folder))
    dev, test = (task / f"{part}.csv" for part in ("dev", "test"))
    contents = dev.read_bytes(), test.read_bytes()
    write(test, contents[0]), write(dev, contents[1])
    swapped = inventory.fingerprint(data_folder(folder))
    (folder / "corpus" / "b.txt").rename(folder / "corpus" / "valid_b.txt")
    assert len({before, swapped, inventory.fingerprint(data_folder(folder))}) == 3


@pytest.mark.parametrize("place", ["retrieval/only_train/rows.jsonl", "retrieval/full/train_flagembedding.jsonl"])
def test_the_fingerprint_follows_the_training_rows(folder, place):
    before = inventory.fingerprint(data_folder(folder))
    jsonl(folder / place, training_rows(9))
    assert inventory.fingerprint(data_folder(folder)) != before


def test_a_run_goes_on_or_is_set_aside(folder, tmp_path, capsys):
    found, output = data_folder(folder), tmp_path / "out"
    run.begin(output, found, "")
    write(output / "corpus" / "results.json", "{}")
    run.begin(output, found, "")
    assert (output / "corpus" / "results.json").exists() and not (tmp_path / "out-1").exists()
    run.begin(output, found, "some/model")
    assert not (output / "corpus").exists() and (tmp_path / "out-1" / "corpus" / "results.json").exists()
    assert json.loads((output / "quickstart.json").read_text())["model"] == "some/model"
    assert "was moved to out-1" in capsys.readouterr().err


def test_a_set_with_training_qrels_alone_is_only_trained_on(folder):
    beir(folder / "retrieval" / "x", {"train": [0]})
    found = data_folder(folder).retrieval["x"]
    assert found.folder is None
    assert [len(row.positives) for row in found.rows] == [1]


def test_passages_beside_training_rows_need_no_judgements(folder):
    shutil.rmtree(folder / "retrieval" / "full" / "qrels")
    found = data_folder(folder).retrieval["full"]
    assert (found.folder, len(found.rows)) == (None, 6)


def test_hidden_folders_are_no_tasks(folder):
    for part in ("classification", "ner", "retrieval"):
        write(folder / part / ".ipynb_checkpoints" / "train-checkpoint.csv", "text,label\n")
    found = data_folder(folder)
    assert (len(found.classification), len(found.ner), len(found.retrieval)) == (2, 1, 4)
