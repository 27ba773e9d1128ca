import random
import re

import numpy as np
import pytest

from finbert2.tokenizer.matching import LONGEST_RUN, codes_of, encode, find, runs, select, take

CHARACTERS = "营业收入净利润"


def taken(texts, words, alive=None):
    occurrences = find(encode(texts), words)
    alive = np.ones(len(words), bool) if alive is None else np.array(alive)
    places, numbers = take(occurrences, alive)
    order = np.argsort(places)
    return [(int(p), occurrences.words[n]) for p, n in zip(places[order], numbers[order], strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_taking_equals_a_regular_expression_that_prefers_the_longest(seed):
    chance = random.Random(seed)
    words = list({"".join(chance.choices(CHARACTERS, k=chance.randint(2, 6))) for _ in range(12)})
    texts = ["".join(chance.choices(CHARACTERS + "，a\n😀", k=chance.randint(0, 90))) for _ in range(20)]
    pattern = re.compile("|".join(sorted(words, key=len, reverse=True)))
    joined = "".join(text + "\n" for text in texts)
    wanted = [(match.start(), match.group()) for match in pattern.finditer(joined)]
    assert taken(texts, words) == wanted and wanted


@pytest.mark.parametrize("seed", range(3))
def test_taking_is_what_the_tokenizers_library_does(seed, tokenizer_folder):
    from transformers import AutoTokenizer

    from finbert2.tokenizer.extend import extend_tokenizer

    chance = random.Random(seed)
    words = list({"".join(chance.choices(CHARACTERS, k=chance.randint(2, 6))) for _ in range(15)})
    text = "".join(chance.choices(CHARACTERS + "，", k=300))
    tokens = extend_tokenizer(AutoTokenizer.from_pretrained(tokenizer_folder), words).tokenize(text)
    assert [word for _, word in taken([text], words)] == [token for token in tokens if token in words]


def test_only_living_words_are_taken():
    words = ["营业", "营业收入", "收入"]
    assert taken(["营业收入"], words) == [(0, "营业收入")]
    assert taken(["营业收入"], words, [True, False, True]) == [(0, "营业"), (2, "收入")]
    assert taken(["营业收入"], words, [False, False, False]) == []


def test_occurrences_overlap_and_documents_count_once():
    occurrences = find(encode(["收入收入收", "收入", "入收"]), ["收入收", "收入", "入收", "净利"])
    assert list(occurrences.counts()) == [2, 3, 3, 0]
    assert list(occurrences.document_counts()) == [1, 2, 2, 0]
    kept = select(occurrences, np.array([False, True, False, True]))
    assert (kept.words, list(kept.counts()), list(kept.lengths)) == (["收入", "净利"], [3, 0], [2, 2])


def test_words_do_not_cross_documents_or_marks():
    assert taken(["营", "业收，入", "收 入"], ["营业", "收入"]) == []


@pytest.mark.parametrize("length", [0, 1, LONGEST_RUN, LONGEST_RUN + 1, 3 * LONGEST_RUN + 5])
def test_long_runs_are_cut_and_none_of_them_is_lost(length):
    begins, ends = runs(codes_of("a" + "甲" * length + "，甲"))
    assert sum(ends - begins) == length + 1 and max(ends - begins) <= LONGEST_RUN
    assert (begins[1:] >= ends[:-1]).all()


def test_nothing_to_find():
    assert taken([], ["营业"]) == taken(["营业"], []) == taken([""], ["营业"]) == []


def test_sources_and_places():
    text = encode(["甲乙", "", "丙"], [2, 0, 1])
    assert list(text.starts) == [0, 3, 4] and list(text.documents_of(np.array([0, 2, 3, 4, 5]))) == [0, 0, 1, 2, 2]
    assert list(codes_of("a😀甲")) == [97, 0xFFFF, ord("甲")]
