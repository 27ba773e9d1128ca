import json

import pytest

from finbert2 import files
from finbert2.tokenizer.reading import MOST_SOURCES, OTHER, Corpus, draw, survey


@pytest.fixture
def many(tmp_path):
    rows = [{"text": "甲" * (number + 1) + "\n乙", "source": f"s{number:02}"} for number in range(25)]
    files.write_rows(tmp_path / "a.jsonl", rows)
    return Corpus([str(tmp_path / "a.jsonl")])


def test_a_survey_counts_documents_lines_and_characters(many):
    found = survey(many)
    assert (found.documents, found.lines, found.characters) == (25, 50, sum(range(3, 28)))


def test_small_sources_are_taken_together(many):
    found = survey(many)
    names = found.names()
    assert len(names) == MOST_SOURCES and names[:2] == ["s24", "s23"] and names[-1] == OTHER
    assert sum(map(found.characters_of, names)) == found.characters
    assert found.characters_of(OTHER) == sum(range(3, 9)) and found.characters_of("s24") == 27
    sample = draw(many, found, 10**6, seed=0)
    assert sample.share == 1 and sample.sources[0] == names.index(OTHER) and sample.sources[24] == 0


def test_a_sample_is_a_share_of_the_documents_and_the_same_each_time(many, tmp_path):
    files.write_rows(tmp_path / "b.jsonl", ({"text": "甲" * 10} for _ in range(2000)))
    corpus = Corpus([str(tmp_path / "b.jsonl")])
    sample = draw(corpus, survey(corpus), 5000, seed=0)
    assert sample.share == 0.25 and 400 < len(sample.texts) < 600
    assert draw(corpus, survey(corpus), 5000, seed=0) == sample


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_smaller_than_a_document_is_one_document(many, seed):
    found = survey(many)
    sample = draw(many, found, 1, seed)
    assert len(sample.texts) == len(sample.sources) == 1 and sample.share == 1 / found.characters
    assert {draw(many, found, 1, seed).texts[0] for seed in range(9)} > {sample.texts[0]}


def test_binary_records_are_counted_when_errors_are_skipped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\0b\nc\n")
    found = survey(Corpus([str(path)], skip_errors=True))
    assert found.documents == 1 and found.skipped.count == len(found.skipped.first) == 1


def test_a_source_may_be_called_other(tmp_path):
    """Beyond 20 sources it is one with the small ones."""
    rows = [{"text": "公司公告" * (60 - n), "source": f"s{n}"} for n in range(25)]
    rows.append({"text": "公司公告" * 99, "source": "other"})
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    corpus = Corpus([str(path)])
    found = survey(corpus)
    names = found.names()
    assert len(set(names)) == len(names) == 20
    assert sum(map(found.characters_of, names)) == found.characters
    sample = draw(corpus, found, 10**9, 0)
    assert sample.sources == [*range(19), *[19] * 7]
