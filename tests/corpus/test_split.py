import numpy as np
import pytest
from datatrove.data import Document

from finbert2 import files
from finbert2.corpus import dedup
from finbert2.corpus.shards import SOURCE, SPLIT
from finbert2.corpus.split import HoldOut, Split, hash_of
from tests.corpus.test_prepare import lines, prepared, prose, write


def held_out(tmp_path, tasks: list[list[int]], verdicts: list[list[int]], fraction: float) -> list[int]:
    for rank, (hashes, verdict) in enumerate(zip(tasks, verdicts, strict=True)):
        files.write_array(tmp_path / "hashes" / f"{rank:05d}.npy", np.array(hashes, dtype=np.uint32))
        files.write_array(tmp_path / "verdicts" / f"{rank:05d}.npy", np.array(verdict, dtype=np.uint8))
    HoldOut(tmp_path / "hashes", tmp_path / "verdicts", fraction).run()
    return np.load(tmp_path / "held_out.npy").tolist()


@pytest.mark.parametrize(
    ("tasks", "fraction", "expected"),
    [
        ([[60_500, 70_500], [50_500]], 0.01, [50_500]),  # buckets 500: none is below 100
        ([[70_500], [60_500, 50_500]], 0.01, [50_500]),  # however they are divided
        ([[60_500, 70_099], [50_500]], 0.01, []),  # bucket 99 is held out by its hash
        ([[60_500, 70_500], [50_500]], 0.0, []),  # none is wanted
        ([[60_500], []], 0.01, []),  # the only document is to train on
    ],
)
def test_one_text_is_held_out_where_the_share_gives_none(tmp_path, tasks, fraction, expected):
    assert held_out(tmp_path, tasks, [[dedup.KEPT] * len(task) for task in tasks], fraction) == expected


def test_dropped_documents_are_not_held_out(tmp_path):
    assert held_out(tmp_path, [[60_500, 50_500, 70_500, 99]], [[0, dedup.NEAR, 0, dedup.EXACT]], 0.01) == [60_500]


def test_the_text_that_is_named_is_held_out(tmp_path):
    texts = ["甲", "乙", "丙"]
    files.write_array(tmp_path / "held_out.npy", np.array([hash_of("乙")], dtype=np.uint32))
    docs = [Document(text=text, id=text, metadata={SOURCE: "a"}) for text in texts]
    marked = [doc.metadata[SPLIT] for doc in Split(0.0, tmp_path / "hashes").run(docs)]
    assert marked == ["train", "valid", "train"]


@pytest.mark.slow
def test_a_small_corpus_has_a_document_to_validate_on_whatever_the_processes(tmp_path):
    texts = [prose(seed) for seed in range(12)]
    source = write(tmp_path / "a.jsonl", texts)
    expected = min(texts, key=hash_of)
    for processes in (1, 2):
        results = prepared(source, tmp_path / str(processes), num_proc=processes)
        assert (results["documents_train"], results["documents_valid"]) == (11, 1)
        assert [row["text"] for row in lines(tmp_path / str(processes), "valid")] == [expected]
