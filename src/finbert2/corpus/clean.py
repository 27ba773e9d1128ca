"""Cleaning one document: what BERT would never see, what every page repeats, and what is not the text itself."""

import bisect
import functools
import html
import importlib.resources
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from finbert2.corpus.filters import ANSWER, drop_reason

INVISIBLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
HIDDEN = re.compile(r"<(script|style)\b[^<>]{0,500}>.*?</\1\s*>|<!--.*?-->", re.I | re.S)
# A name of one letter may be a variable of an inequality, so that what follows has to be attributes with values.
TAG = re.compile(
    r"</?(?:[abipqsu](?:\s+[\w:-]{1,50}\s*=\s*(?:\"[^\"<>]{0,500}\"|'[^'<>]{0,500}'|[^\s<>\"']{1,500})){0,20}\s*/?>|"
    r"(?:div|span|br|hr|img|table|thead|tbody|tr|td|th|font|strong|em|ul|ol|li|dl|dt|dd|h\d|sup|sub|pre|"
    r"code|small|center|section|article|header|footer|main|nav|figure|figcaption|blockquote|iframe|video|source|input|"
    r"button|label|form|link|meta|html|head|body|title)(?:\s[^<>]{0,500})?/?>)",
    re.I,
)
BREAKING_TAG = re.compile(r"<(?:br|hr|/p|/div|/tr|/li|/h\d|/title|/section|/dd|/blockquote)\s*/?>", re.I)
BLANKS = re.compile(r"[ \t\u00a0\u3000]+")
# A line that ends in the middle of a Chinese sentence and goes on in the next was broken by a page, not by the author.
BROKEN_LINE = re.compile(r"(?<=[\u4e00-\u9fff，、；])\n(?=[\u4e00-\u9fff])")
MIN_BROKEN_LINE = 18  # a shorter line is a heading
# What a page repeats is a sentence, a header, the name of a source; a shorter line said again is a cell of a table.
MIN_REPEATED_LINE, MIN_REPEATED_SENTENCE = 6, 20
HEADER = re.compile(
    "报告全文|季度报告|年度报告|研究报告|证券研究|行业研究|公司研究|研究所|专题研究|深度报告|动态点评|招股说明书|"
    "记录表|资料来源|数据来源"
)
MAX_REPEATED_SHARE = 0.50
# A disclaimer runs to the end of a document: it is near it, or what follows speaks its language.
MAX_DISCLAIMER_SHARE, CHARACTERS_A_SIGN = 0.30, 70
SIGN = re.compile(
    "本报告(?!期)|本研究报告|投资建议|评级|不构成|仅供|不承担|不保证|不作任何|版权|执业|基准|分析师|免责|投资者应|跑赢|强于"
)

# Full-width letters, digits and the signs that belong to numbers; Chinese punctuation is full-width by right.
HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code - 0xFEE0).isalnum()}
HALF |= {ord(full): ord(half) for full, half in zip("％＋－．／＝＄＃＠＆＊＜＞～", "%+-./=$#@&*<>~", strict=True)}


@dataclass(frozen=True)
class Rule:
    """A pattern, and the words of which a text must hold one before the pattern is worth trying (in lower case)."""

    words: tuple[str, ...]
    pattern: re.Pattern[str]


Rules = dict[str, list[Rule]]


def clean(text: str, width: str = "keep") -> str:
    """Return the document without control and zero-width characters, HTML, boilerplate and repeated lines.

    `width` "keep" leaves full- and half-width forms alone: the tokenizer decides about them, and it has to see what
    users will send. "half" narrows letters, digits and number signs, "nfkc" normalises everything.
    """
    text = without_html(text).replace("\r\n", "\n").replace("\r", "\n")
    text = change_width(INVISIBLE.sub("", text), width)
    lines = [BLANKS.sub(" ", line).strip() for line in text.split("\n")]
    lines = drop_repeated(drop_boilerplate([line for line in lines if line]))
    return join_broken("\n".join(lines)).strip()


def without_html(text: str) -> str:
    """Return the text with entities resolved (also those escaped twice), tags taken out and blocks on their lines."""
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "<" in text:
        text = TAG.sub("", BREAKING_TAG.sub("\n", HIDDEN.sub("", text)))
    return text


def change_width(text: str, width: str) -> str:
    """Return the text with full-width forms kept, narrowed where they are Latin, or normalised."""
    if width == "half":
        return text.translate(HALF)
    return unicodedata.normalize("NFKC", text) if width == "nfkc" else text


@functools.cache
def rules() -> Rules:
    """Return the boilerplate rules of `boilerplate.json`, compiled."""
    source = importlib.resources.files("finbert2.corpus").joinpath("boilerplate.json").read_text(encoding="utf-8")
    return {
        name: [Rule(tuple(rule["any"]), re.compile(rule["rule"], re.I | re.M)) for rule in group]
        for name, group in json.loads(source).items()
    }


@functools.cache
def rule_words() -> tuple[str, ...]:
    """Return the words of which every text that a rule matches holds one."""
    return tuple(sorted({word for group in rules().values() for rule in group for word in rule.words}))


def rules_for(text: str) -> Rules:
    """Return the rules that may match in a text, none where no word of theirs occurs: patterns are slow, words fast."""
    lowered = text.lower()
    found = {word for word in rule_words() if word in lowered}
    if not found:
        return {}
    return {name: [rule for rule in group if not found.isdisjoint(rule.words)] for name, group in rules().items()}


def drop_boilerplate(lines: list[str]) -> list[str]:
    """Return what stands before a disclaimer block, without page headers, contact lines and inserted notices."""
    text = "\n".join(lines)
    active = rules_for(text)
    if not active:
        return lines
    kept: list[str] = []
    for line in text[: disclaimer_start(text, active["cut_from"])].strip().split("\n"):
        if any(rule.pattern.search(line) for rule in active["drop_line"]):
            continue
        for rule in active["remove"]:
            line = rule.pattern.sub("", line)
        if line:
            kept.append(line)
    return kept


def disclaimer_start(text: str, cuts: list[Rule]) -> int:
    """Return where the disclaimer that ends a text begins, the text's length if none does.

    A heading or a phrase of one is not enough: annual reports open with "重要声明", a table of contents lists it, and a
    page's footer has "本报告仅供客户使用". At the very start it would leave nothing, so there it is only a heading.
    """
    found = sorted(match.span() for rule in cuts for match in rule.pattern.finditer(text) if match.start())
    signs = [match.start() for match in SIGN.finditer(text)] if found else []
    for start, stop in found:
        following = len(signs) - bisect.bisect_left(signs, stop)
        if len(text) - start <= MAX_DISCLAIMER_SHARE * len(text) or len(text) - stop <= CHARACTERS_A_SIGN * following:
            return start
    return len(text)


def drop_repeated(lines: list[str]) -> list[str]:
    """Return the lines without repetitions of sentences and of page headers.

    Where the answers and cells that stay are most of the document, or would have it dropped, they go as well.
    """
    kept = without_repetitions(lines, lambda line: is_page_line(line) or line == lines[0])
    once = set(kept)
    if len(once) == len(kept):
        return kept
    mostly = sum(map(len, once)) < (1 - MAX_REPEATED_SHARE) * sum(map(len, kept))
    if mostly or drop_reason("\n".join(kept)) is not None:
        return without_repetitions(lines, lambda line: True)
    return kept


def without_repetitions(lines: list[str], goes: Callable[[str], bool]) -> list[str]:
    """Return the lines with every repetition of an earlier line of 6 characters or more left out, if it `goes`."""
    seen: set[str] = set()
    kept = []
    for line in lines:
        if len(line) < MIN_REPEATED_LINE or line not in seen or not goes(line):
            kept.append(line)
        seen.add(line)
    return kept


def is_page_line(line: str) -> bool:
    """Tell whether a line that occurs twice is a sentence or a header of a page, not an answer or a cell of a table."""
    return not ANSWER.search(line) and (len(line) >= MIN_REPEATED_SENTENCE or HEADER.search(line) is not None)


def join_broken(text: str) -> str:
    """Return the text with lines joined that were broken inside a sentence."""
    joined, start = [], 0
    for match in BROKEN_LINE.finditer(text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        if match.start() - line_start >= MIN_BROKEN_LINE:
            joined.append(text[start : match.start()])
            start = match.end()
    return "".join([*joined, text[start:]])
