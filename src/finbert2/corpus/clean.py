"""Cleaning one document: what BERT would never see, what every page repeats, and what is not the text itself."""

import functools
import html
import importlib.resources
import json
import re

INVISIBLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
TAG = re.compile(
    r"</?(?:p|div|span|br|b|i|u|a|img|table|tr|td|th|font|strong|em|ul|ol|li|h\d)(?:\s[^<>]{0,200})?/?>", re.I
)
BREAKING_TAG = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d)\s*/?>", re.I)
BLANKS = re.compile(r"[ \t\u00a0\u3000]+")
# A line that ends in the middle of a Chinese sentence and goes on in the next was broken by a page, not by the author.
BROKEN_LINE = re.compile(r"(?<=[\u4e00-\u9fff，、；])\n(?=[\u4e00-\u9fff])")
MIN_BROKEN_LINE = 18  # a shorter line is a heading


def clean(text: str) -> str:
    """Return the document without control and zero-width characters, HTML, boilerplate and repeated lines.

    Full- and half-width forms are kept: the tokenizer decides about them, and it has to see what users will send.
    """
    text = INVISIBLE.sub("", html.unescape(text).replace("\r\n", "\n").replace("\r", "\n"))
    text = TAG.sub("", BREAKING_TAG.sub("\n", text))
    lines = [BLANKS.sub(" ", line).strip() for line in text.split("\n")]
    lines = drop_repeated(drop_boilerplate([line for line in lines if line]))
    return join_broken("\n".join(lines)).strip()


@functools.cache
def rules() -> dict[str, list[re.Pattern[str]]]:
    """Return the boilerplate rules of `boilerplate.json`, compiled."""
    source = importlib.resources.files("finbert2.corpus").joinpath("boilerplate.json").read_text(encoding="utf-8")
    return {name: [re.compile(rule, re.I) for rule in group] for name, group in json.loads(source).items()}


def drop_boilerplate(lines: list[str]) -> list[str]:
    """Return the lines before a disclaimer block, without page headers, contact lines and inserted notices."""
    kept: list[str] = []
    for line in lines:
        # A disclaimer runs to the end; at the very start it would leave nothing, so there it is only a heading.
        if kept and any(rule.search(line) for rule in rules()["cut_from"]):
            break
        if any(rule.search(line) for rule in rules()["drop_line"]):
            continue
        for rule in rules()["remove"]:
            line = rule.sub("", line)
        if line:
            kept.append(line)
    return kept


def drop_repeated(lines: list[str]) -> list[str]:
    """Return the lines with every repetition of an earlier line of 6 characters or more left out."""
    seen: set[str] = set()
    kept = []
    for line in lines:
        if len(line) < 6 or line not in seen:
            kept.append(line)
        seen.add(line)
    return kept


def join_broken(text: str) -> str:
    """Return the text with lines joined that were broken inside a sentence."""
    joined, start = [], 0
    for match in BROKEN_LINE.finditer(text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        if match.start() - line_start >= MIN_BROKEN_LINE:
            joined.append(text[start : match.start()])
            start = match.end()
    return "".join([*joined, text[start:]])
