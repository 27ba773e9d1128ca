import pytest

from finbert2.corpus.clean import clean, drop_boilerplate, drop_repeated, join_broken, rules

SENTENCE = "公司前三季度实现营业收入十二亿元，同比增长百分之八"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("营\u200b业\ufeff收\u00ad入\u2060增\u202e长\x00。", "营业收入增长。"),
        ("净利润\u3000\u00a0 \t增长", "净利润 增长"),
        ("A&amp;B &lt;增持&gt; &ldquo;买入&rdquo;&nbsp;评级", "A&B <增持> “买入” 评级"),
        ('<div class="x">营业<b>收入</b></div><img src="a.png"/>增长', "营业收入\n增长"),
        ("一段<br/>二段</p>三段", "一段\n二段\n三段"),
        ("利润率<5%，且>3%；<股票代码>", "利润率<5%，且>3%；<股票代码>"),
        ("第一行\r\n第二行\r第三行\n\n\n第四行", "第一行\n第二行\n第三行\n第四行"),
        ("若a<b 且 c>d，则净利润增长；当p<i 时，x>0。", "若a<b 且 c>d，则净利润增长；当p<i 时，x>0。"),
        ('<a href="x?a=1" target=_blank>公告</a><p align = center >增长</p><B>', "公告增长"),
        ("<!-- 注释\n-->营收<script type='a'>var x=1;\n</script>增长<STYLE>p{}</STYLE>", "营收增长"),
        ("营收&amp;nbsp;增长&amp;lt;p&amp;gt;", "营收 增长"),
        ("ＥＰＳ１．２元（同比＋５％），ａｂｃ", "ＥＰＳ１．２元（同比＋５％），ａｂｃ"),
        ("  \u3000首行缩进  ", "首行缩进"),
        ("", ""),
    ],
)
def test_what_is_not_text_goes_and_the_rest_stays(raw, expected):
    assert clean(raw) == expected


@pytest.mark.parametrize(
    "title", ["免责声明", "【免责声明】", "  分析师声明：", "投资评级说明", "重要声明: 本报告由某证券制作"]
)
def test_a_disclaimer_runs_to_the_end(title):
    assert clean(f"{SENTENCE}。\n{title}\n本报告不构成投资建议。\n买入") == f"{SENTENCE}。"


BODY = f"{SENTENCE}。公司订单饱满，产能利用率保持高位，经营活动现金流持续改善，预计全年业绩稳步提升。"
NOTICES = (
    "本报告仅供某某证券客户使用，不构成任何投资建议。",
    "本公司具有中国证监会核准的证券投资咨询业务资格，本报告仅供客户使用。",
)


@pytest.mark.parametrize("notice", NOTICES)
def test_what_stands_before_a_disclaimer_in_its_line_stays(notice):
    assert clean(f"某公司点评：业绩超预期\n{BODY}{notice}") == f"某公司点评：业绩超预期\n{BODY}"


@pytest.mark.parametrize("notice", NOTICES)
def test_a_long_disclaimer_goes_though_it_is_most_of_the_document(notice):
    rest = "本报告的信息均来源于公开资料，本公司不保证其准确。\n买入：相对基准指数涨幅15%以上。\n" * 4
    assert clean(f"某公司点评：业绩超预期\n{notice}\n{rest}") == "某公司点评：业绩超预期"


@pytest.mark.parametrize(
    "line",
    [
        "重要声明：本公司董事会、监事会及全体董事保证年度报告内容的真实、准确、完整，不存在虚假记载。", "重要声明",
        "特别声明：公司不存在应披露而未披露的事项。", "评级标准方面，三家机构的口径并不一致。", "免责声明", *NOTICES,
    ],
)  # fmt: skip
def test_no_document_is_cut_to_its_title(line):
    """An annual report opens with a declaration, a table of contents lists it, a page's footer repeats it."""
    text = f"某公司2023年年度报告摘要\n{line}\n一、公司基本情况\n{BODY}\n二、主要财务数据\n公司拟每十股派发现金两元，"
    text += "不送红股，不以公积金转增股本；分红方案尚需股东大会通过。"
    assert clean(text) == text


def test_a_disclaimer_at_the_very_start_is_only_a_heading():
    assert clean(f"免责声明\n{SENTENCE}。") == f"免责声明\n{SENTENCE}。"


@pytest.mark.parametrize(
    "line",
    [
        "第 3 页 共 12 页", "3 / 12", "第3页",
        "张三 电话：021-12345678", "邮箱: zhangsan@abc.com.cn", "E-mail：li.si@abc.com",
        "联系人：张三 021-12345678", "分析师：李四（S1234）电话(021)12345678",
        "执业证书编号：S1234567890123", "请务必阅读正文之后的免责声明部分", "证券研究报告", "https://example.com/a",
        "扫描二维码关注公众号",
    ],
)  # fmt: skip
def test_lines_that_every_page_repeats_go(line):
    assert clean(f"{SENTENCE}。\n{line}\n{SENTENCE}点五。") == f"{SENTENCE}。\n{SENTENCE}点五。"


@pytest.mark.parametrize(
    "line", ["2024年3月", "公司电话会议纪要已公布", "第3季度", "公司召开三季度业绩说明电话会议", "销售费用"]
)
def test_lines_that_only_look_like_boilerplate_stay(line):
    assert drop_boilerplate([SENTENCE, line]) == [SENTENCE, line]


def test_sources_and_notices_inside_a_line_are_taken_out():
    line = "营收增长（资料来源：公司公告，Wind）。请务必阅读正文之后的免责声明。利润下降。"
    assert drop_boilerplate([line]) == ["营收增长。利润下降。"]


def test_repeated_sentences_and_page_headers_go():
    lines = ["某公司业绩点评", "某证券研究所", "买入", BODY, "某证券研究所", "买入", BODY, "某公司业绩点评", "点五"]
    assert drop_repeated(lines) == ["某公司业绩点评", "某证券研究所", "买入", BODY, "买入", "点五"]


@pytest.mark.parametrize(
    "answer", ["□适用 √不适用", "审议结果：通过", "表决结果：同意9票，反对0票，弃权0票，回避0票。"]
)
def test_answers_that_occur_again_stay(answer):
    lines = [f"议案{number}：关于{SENTENCE[3 * number :]}的议案" for number in range(4)]
    lines = [part for line in lines for part in (line, answer)]
    assert drop_repeated(lines) == lines


def test_cells_of_a_table_that_occur_again_stay():
    lines = ["前十名股东", "人民币普通股", BODY, "人民币普通股", "公司拟每十股派发现金两元，分红方案尚需股东大会通过。"]
    assert drop_repeated(lines) == lines


def test_answers_go_where_they_would_have_the_document_dropped():
    lines = [SENTENCE, *["□适用 √不适用"] * 20]
    assert drop_repeated(lines) == lines[:2]


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        ([SENTENCE, "点三，净利润下降"], [SENTENCE + "点三，净利润下降"]),
        ([SENTENCE + "，", "净利润下降"], [SENTENCE + "，净利润下降"]),
        ([SENTENCE + "。", "净利润下降"], [SENTENCE + "。", "净利润下降"]),  # a sentence that ended
        ([SENTENCE, "2024年净利润下降"], [SENTENCE, "2024年净利润下降"]),  # a number begins a line
        (["一、公司基本情况", "公司主营业务为半导体"], ["一、公司基本情况", "公司主营业务为半导体"]),  # a heading
        ([SENTENCE, SENTENCE, "点三"], [SENTENCE + SENTENCE + "点三"]),
        ([SENTENCE, "短行", "第三行"], [SENTENCE + "短行", "第三行"]),
    ],
)
def test_lines_broken_inside_a_sentence_are_joined(lines, joined):
    assert join_broken("\n".join(lines)) == "\n".join(joined)


@pytest.mark.parametrize(("length", "joined"), [(17, False), (18, True)])
def test_a_line_of_18_characters_is_no_heading(length, joined):
    assert ("\n" not in join_broken("甲" * length + "\n乙")) is joined


def test_cleaning_twice_changes_nothing():
    raw = f"<p>{SENTENCE}。</p>\n第 1 页\n{SENTENCE}&nbsp;，\n净利润\u200b下降。\n免责声明\n略"
    assert clean(clean(raw)) == clean(raw) == f"{SENTENCE}。\n{SENTENCE} ，净利润下降。"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        ("keep", "ＥＰＳ１．２元（同比＋５％），“买入”①"),
        ("half", "EPS1.2元（同比+5%），“买入”①"),
        ("nfkc", "EPS1.2元(同比+5%),“买入”1"),
    ],
)
def test_full_width_forms_are_kept_narrowed_or_normalised(width, expected):
    assert clean("ＥＰＳ１．２元（同比＋５％），“买入”①", width) == expected


@pytest.mark.parametrize(
    "line", ["重要声明的前夕，他又买入该基金", "监管部门称免责条款无效", "该公司免责声明让人想起一桩旧案"]
)
def test_a_sentence_about_a_disclaimer_is_none(line):
    assert drop_boilerplate([SENTENCE, line]) == [SENTENCE, line]


def test_a_notice_at_the_end_of_a_line_is_taken_out():
    assert clean(f"{SENTENCE}。本文不构成投资建议，据此操作风险自担。") == f"{SENTENCE}。"


MATCHES = [
    "免责声明", "法律声明：", "分析师承诺", "本公司具有中国证监会核准的证券投资咨询业务资格，本报告仅供客户",
    "本报告仅供某公司客户使用，不构成建议", "本人具有中国证券业协会授予的证券投资咨询执业资格",
    "请务必阅读正文之后的声明", "证券研究报告 | 公司点评", "https://a.cn/b", "第 3 页 共 12 页", "3 / 12",
    "电话：021-12345678", "E-mail：li.si@abc.com", "执业证书编号：S1", "SAC 编号：S1", "扫描二维码关注",
    "本文仅供参考，不构成投资建议", "（资料来源：公司）", "请务必阅读正文之后的免责条款",
    "好。本文不构成任何投资建议。",
]  # fmt: skip


def test_a_rule_is_tried_wherever_it_would_match():
    """The words that let a rule be passed over stand in everything that it matches, and no rule is idle."""
    idle = {id(rule) for group in rules().values() for rule in group}
    for text in MATCHES:
        for rule in (rule for group in rules().values() for rule in group):
            if rule.pattern.search(text):
                assert any(word in text.lower() for word in rule.words), (text, rule)
                idle.discard(id(rule))
    assert not idle
