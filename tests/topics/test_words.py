import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finbert2.topics import words
from finbert2.topics.words import Segmenter, fold, holds_one, merge, read_words


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import BertTokenizerFast

    characters = "新能源汽车首次覆盖给予买入评级公司研究abc"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(characters), "##b", "ab", "##汽"]
    made = BertTokenizerFast(vocab={word: number for number, word in enumerate(vocabulary)})
    made.add_tokens(["新能源汽车", "首次覆盖", "ab汽车"])
    return made


SEGMENTERS = {
    "jieba": lambda tokenizer: Segmenter(),
    "dictionary": lambda tokenizer: Segmenter(["boss直聘", "at&t", "买入 评级"]),
    "tokenizer": lambda tokenizer: Segmenter(["新能源", "车 首", "源\t汽"], (), tokenizer),
}
ALPHABET = st.one_of(st.characters(), st.sampled_from("新能源汽车首次覆盖给予买入评级 \t\u3000ＡİabcB喆塔\ud800\x00"))


@pytest.mark.parametrize("kind", SEGMENTERS)
def test_pieces_join_to_any_text(kind, tokenizer):
    segmenter = SEGMENTERS[kind](tokenizer)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text(ALPHABET, max_size=60), max_size=4))
    def joins(texts):
        assert ["".join(pieces) for pieces in segmenter.pieces(texts)] == texts

    joins()


@given(st.text(ALPHABET))
def test_folding_keeps_the_length(text):
    assert len(fold(text)) == len(text)


def test_blanks_do_not_shift_the_tokenizers_words(tokenizer):
    # The original counted running lengths: each blank moved later tokens by one (research e.1, item 1).
    assert list(Segmenter((), (), tokenizer).pieces(["新能源汽车 公司研究 首次覆盖"])) == [
        ["新能源汽车", " ", "公司", "研究", " ", "首次覆盖"]
    ]


def test_dictionary_entries_with_blanks_and_marks_are_kept_whole():
    """jieba ends a word at them whatever its dictionary says (jieba's issues 300, 390, 749)."""
    entries = ["*st华微", "morgan stanley", "碳化硅(sic)", "st*华", "人工智能/机器人", "华微电"]
    segmenter = Segmenter(entries, ["公告"])
    title = "*ST华微电子公告：Morgan Stanley、碳化硅（SiC）test*华人工智能/机器人"
    assert next(segmenter.pieces([title])) == [
        "*ST华微", "电子", "公告", "：", "Morgan Stanley", "、", "碳化硅（SiC）", "test", "*", "华", "人工智能/机器人",
    ]  # fmt: skip
    assert segmenter.words([title])[0][:3] == ["*st华微", "电子", "morgan stanley"]
    assert next(pickle.loads(pickle.dumps(segmenter)).pieces(["华微电*ST华微"])) == ["华微电", "*ST华微"]


def test_an_unknown_character_swallows_nothing(tokenizer):
    pieces = next(iter(Segmenter((), (), tokenizer).pieces(["喆塔科技：新能源汽车"])))
    assert pieces[-1] == "新能源汽车" and "[UNK]" not in pieces and "".join(pieces).startswith("喆塔科技：")


def test_only_whole_chinese_words_of_the_tokenizer_count(tokenizer):
    assert set(Segmenter((), (), tokenizer).domain.values()) == {"新能源汽车", "首次覆盖"}


def test_merge_takes_the_longest_and_keeps_the_tail():
    # base AB|CD|E, others ABC and BC: ABC wins at 0, D stands alone, BC starts inside and is passed over.
    assert list(merge(5, [(0, 2), (2, 4), (4, 5)], [(0, 3), (1, 3)])) == [(0, 3), (3, 4), (4, 5)]
    assert list(merge(3, [], [])) == [(0, 3)] and list(merge(0, [], [])) == []


def test_dictionary_words_are_kept_whole_in_any_case():
    segmenter = Segmenter(["boss直聘", "at&t", "科德数控"])
    assert segmenter.words(["ＢＯＳＳ直聘与AT&T：科德数控"]) == [["boss直聘", "at&t", "科德数控"]]


def test_stop_words_go_as_words_not_as_characters():
    words_of = Segmenter(["行业利率"], ["行业", "周报"]).words(["银行行业利率 2023 周报，35% 涨"])
    assert words_of == [["银行", "行业利率"]]


def test_domain_words_unite_for_naming_and_stand_apart_for_comparing(tokenizer):
    title = "新能源汽车首次覆盖"
    assert Segmenter((), (), tokenizer).words_and_parts([title]) == (
        [["新能源汽车", "首次覆盖"]], [["新能源", "汽车", "首次", "覆盖"]]
    )  # fmt: skip
    stopped = Segmenter((), ("首次",), tokenizer)
    assert stopped.words_and_parts([title]) == ([["新能源汽车", "覆盖"]], [["新能源", "汽车", "覆盖"]])
    assert list(stopped.cut([title])) == [(["新能源汽车", "首次", "覆盖"], ["新能源", "汽车", "首次", "覆盖"])]


@pytest.mark.parametrize(
    ("span", "expected"), [((0, 4), True), ((0, 3), False), ((2, 4), True), ((3, 9), False), ((5, 9), False)]
)
def test_a_span_holds_another(span, expected):
    assert holds_one(span, [(2, 4)]) is expected and not holds_one(span, [])


def test_word_list_is_folded_and_cleaned(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(
        "\ufeff# 说明\nBOSS直聘\n中芯国际 100 nz\n[UNK]科技\n##adidas\n\n \nＡ\nboss直聘\n#\n", encoding="utf-8"
    )
    assert read_words(path) == ["boss直聘", "中芯国际", "a", "#"] and read_words(None) == []


def test_segmenter_pickles_without_its_jieba():
    segmenter = Segmenter(["科德数控"])
    before = segmenter.words(["科德数控 首次覆盖"])
    assert pickle.loads(pickle.dumps(segmenter)).words(["科德数控 首次覆盖"]) == before


def test_segmenting_is_linear(tokenizer):
    """Ten times the text takes ten times the lines of our code; a quadratic one would take a hundred times as many."""
    segmenter = Segmenter((), (), tokenizer)
    text = "新能源汽车公司研究：首次覆盖，给予买入评级 "

    def lines(times):
        taken = 0

        def count(frame, event, _):
            nonlocal taken
            taken += event == "line"
            return count if frame.f_code.co_filename == words.__file__ else None

        sys.settrace(count)
        try:
            list(segmenter.pieces([text * times]))
        finally:
            sys.settrace(None)
        return taken

    few = lines(40)
    assert few > 400 and lines(400) < 11 * few


def test_changed_lists_change_the_digest(tokenizer):
    plain, other = Segmenter(["甲"], ["乙"]).digests(), Segmenter(["甲"], ["丙"], tokenizer).digests()
    assert plain["dictionary"] == other["dictionary"]
    assert plain["stopwords"] != other["stopwords"] and plain["tokenizer_words"] != other["tokenizer_words"]
    assert words.digest(["a", "b"]) == words.digest(["b", "a"])
