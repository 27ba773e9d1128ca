"""Which documents are worth reading: each dropped one gets exactly one reason."""

import re

import numpy as np

from finbert2 import ngrams

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
SYMBOL = re.compile(r"[\d\W_]+")
# "□适用 √不适用", "表决结果：同意9票": forms and minutes give the same answer to one question after the other.
ANSWER = re.compile(r"适用|表决|同意|赞成|弃权|审议|[□√☑]")

MIN_CHARACTERS = 10
MAX_CHARACTERS = 1_000_000  # longer than any prospectus: a dump, not a document
MIN_CHINESE_SHARE = 0.30
MAX_SYMBOL_SHARE = 0.60
# Gopher's repetition measures (Rae et al. 2021, table A1), on characters instead of words.
MAX_REPEATED_LINE_SHARE = 0.30
MAX_REPEATED_LINE_CHARACTERS = 0.20
# A news body that begins by repeating its headline stays below one half; a text said three times does not.
REPEATED_GRAM = 10
MAX_REPEATED_GRAM_SHARE = 0.50
# Gopher asks 0.16 of 4 words. Quotes of the day ("跌0.11%，" after each name) reach 0.28 and are text, runs of one
# character and lists that repeat a name are not.
TOP_GRAM = 4
MAX_TOP_GRAM_SHARE = 0.35
MIN_TOP_GRAM_CHARACTERS = 60  # in a shorter text a company named three times is a fifth of it
MIXERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def drop_reason(text: str) -> str | None:
    """Return why a cleaned document is dropped, None if it is kept."""
    if len(text) < MIN_CHARACTERS:
        return "too_short"
    symbols = characters_in(SYMBOL, text)
    if characters_in(CHINESE, text) < MIN_CHINESE_SHARE * len(text):
        return "little_chinese" if symbols <= MAX_SYMBOL_SHARE * len(text) else "table"
    if symbols > MAX_SYMBOL_SHARE * len(text):
        return "table"
    return repetition(text)


def characters_in(runs: re.Pattern[str], text: str) -> int:
    """Return how many characters lie in the runs that a pattern finds."""
    return sum(map(len, runs.findall(text)))


def repetition(text: str) -> str | None:
    """Return which kind of repetition a text consists of, None if of none; answers given again do not count."""
    if "\n" in text:
        text = answers_once(text)
        if repeated_line_share(text) > MAX_REPEATED_LINE_SHARE:
            return "repeated_lines"
        if repeated_line_characters(text) > MAX_REPEATED_LINE_CHARACTERS:
            return "repeated_lines"
    grams = four_grams(text)
    if repeated_gram_share(grams) > MAX_REPEATED_GRAM_SHARE:
        return "repetitive"
    if len(text) >= MIN_TOP_GRAM_CHARACTERS and top_gram_share(grams) > MAX_TOP_GRAM_SHARE:
        return "repetitive"
    return None


def answers_once(text: str) -> str:
    """Return a text with each line that is an answer left out where it occurs again."""
    lines = text.split("\n")
    if len(set(lines)) == len(lines):
        return text
    first = {line: number for number, line in reversed(list(enumerate(lines)))}
    return "\n".join(line for n, line in enumerate(lines) if first[line] == n or not ANSWER.search(line))


def repeated_line_share(text: str) -> float:
    """Return the share of lines that repeat an earlier one."""
    lines = [line for line in text.split("\n") if line]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def repeated_line_characters(text: str) -> float:
    """Return the share of characters that lie in lines which repeat an earlier one."""
    lines = [line for line in text.split("\n") if line]
    whole = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / whole if whole else 0.0


def four_grams(text: str) -> np.ndarray:
    """Return the runs of 4 characters (characters - 3,) of a text, each packed into a uint64."""
    codes = ngrams.codes(text) & np.uint64(0xFFFF)
    if len(codes) < TOP_GRAM:
        return codes[:0]
    pairs = codes[:-1] << np.uint64(16) | codes[1:]
    return pairs[:-2] << np.uint64(32) | pairs[2:]


def repeated_gram_share(grams: np.ndarray) -> float:
    """Return the share of a text's 10-character grams that repeat an earlier one, from its 4-character grams."""
    rest = REPEATED_GRAM - TOP_GRAM
    if len(grams) <= rest:
        return 0.0
    # Characters 0-3, 4-7 and 6-9 of each ten, hashed together.
    tens = grams[:-rest] * MIXERS[0] ^ grams[4 : len(grams) - rest + 4] * MIXERS[1] ^ grams[rest:] * MIXERS[2]
    tens.sort()
    return float(np.count_nonzero(tens[1:] == tens[:-1])) / len(tens)


def top_gram_share(grams: np.ndarray) -> float:
    """Return the share of a text that its most frequent run of 4 characters covers, from its 4-character grams."""
    if not len(grams):
        return 0.0
    ordered = np.sort(grams)
    borders = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    return float(np.diff(borders).max()) * TOP_GRAM / (len(grams) + TOP_GRAM - 1)
