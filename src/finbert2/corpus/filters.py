"""Which documents are worth reading: each dropped one gets exactly one reason."""

import re

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
SYMBOL = re.compile(r"[\d\W_]")

MIN_CHARACTERS = 10
MIN_CHINESE_SHARE = 0.30
MAX_SYMBOL_SHARE = 0.60
# Gopher's repetition measures (Rae et al. 2021, table A1), on characters instead of words.
MAX_REPEATED_LINE_SHARE = 0.30
# A news body that begins by repeating its headline stays below one half; a text said three times does not.
REPEATED_GRAM = 10
MAX_REPEATED_GRAM_SHARE = 0.50


def drop_reason(text: str) -> str | None:
    """Return why a cleaned document is dropped, None if it is kept."""
    if len(text) < MIN_CHARACTERS:
        return "too_short"
    if len(CHINESE.findall(text)) < MIN_CHINESE_SHARE * len(text):
        return "little_chinese" if len(SYMBOL.findall(text)) <= MAX_SYMBOL_SHARE * len(text) else "table"
    if len(SYMBOL.findall(text)) > MAX_SYMBOL_SHARE * len(text):
        return "table"
    if repeated_line_share(text) > MAX_REPEATED_LINE_SHARE:
        return "repeated_lines"
    if repeated_gram_share(text) > MAX_REPEATED_GRAM_SHARE:
        return "repetitive"
    return None


def repeated_line_share(text: str) -> float:
    """Return the share of lines that repeat an earlier one."""
    lines = [line for line in text.split("\n") if line]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def repeated_gram_share(text: str) -> float:
    """Return the share of the text's 10-character grams that repeat an earlier one."""
    grams = [text[i : i + REPEATED_GRAM] for i in range(len(text) - REPEATED_GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
