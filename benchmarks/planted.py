"""A planted set of near copies, and of documents that look like near copies and are none: `make` from texts and a seed.

Ground truth. A near copy is a document that says the same as another one and was changed by

- edits: one character in ten of a title, one in fifty of a text, replaced, left out or put in; never a digit;
- numbers: every amount replaced (titles and texts that have one), while years, months and quarters stay;
- boilerplate: a label before or behind a title; before and behind a text lines that the cleaning rules know and a
  paragraph of 40 characters that they do not;
- reordered: the sentences of a text in another order.

Not near copies, though only a few characters differ: a title with another company before its colon, and a title that
names another year, quarter or kind of report. These are planted as well, and count against precision when dropped.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

LABELS = ["【快讯】", "【研报】", "独家｜", "更新：", "转载："]
TAILS = ["（更新）", "（转载）", "（附股）", "【图】", "-某某网"]
KNOWN_HEAD = "证券研究报告\n"
KNOWN_TAIL = "\n请务必阅读正文之后的免责条款部分\n免责声明：本报告仅供客户使用，不构成投资建议。"
UNKNOWN = ["更多内容请留意本栏目后续更新，欢迎读者在评论区留下看法，编辑部将择要回复并整理成文。",
           "本栏目由数据中心整理，转载须注明出处，文中图表可向编辑部索取，往期内容见栏目主页列表。"]  # fmt: skip
CHINESE = re.compile(r"[\u4e00-\u9fff]")
AMOUNT = re.compile(r"(?<![\d.年QqHh])(?!20[12]\d\D)\d+(?:\.\d+)?(?=[%pPbBtT亿万倍元美个家股点成大条项只板块])")
YEAR = re.compile(r"20[12]\d(?=年|[QqHh]\d)")
QUARTER = re.compile(r"[一二三四](?=季)")


def edits(text: str, count: int, rng: random.Random) -> str:
    """Return the text with `count` characters other than digits replaced, left out, or put in before."""
    letters = list(text)
    places = [i for i, c in enumerate(text) if CHINESE.match(c)]
    for place in rng.sample(places, min(count, len(places))):
        other = rng.choice("的了在为是和与及有等将由其至或更又再也都")
        letters[place] = rng.choice([other, "", letters[place] + other])
    return "".join(letters)


def numbers(text: str, rng: random.Random) -> str:
    """Return the text with every amount replaced by another of as many digits."""
    return AMOUNT.sub(lambda m: re.sub(r"\d", lambda _: str(rng.randint(1, 9)), m[0]), text)


def reordered(text: str, rng: random.Random) -> str:
    """Return the text with its sentences in another order."""
    parts = [part for part in re.split(r"(?<=[。！？；])|\n", text) if part.strip()]
    rng.shuffle(parts)
    return "".join(parts)


def title_copies() -> dict[str, Callable[[str, random.Random], str]]:
    """Return the ways in which a title is copied."""
    return {
        "edits": lambda t, rng: edits(t, max(1, len(t) // 10), rng),
        "numbers": numbers,
        "boilerplate": lambda t, rng: rng.choice(LABELS) + t if rng.random() < 0.5 else t + rng.choice(TAILS),
    }


def text_copies() -> dict[str, Callable[[str, random.Random], str]]:
    """Return the ways in which a text is copied."""
    return {
        "edits": lambda t, rng: edits(t, max(1, len(t) // 50), rng),
        "numbers": numbers,
        "boilerplate": lambda t, rng: KNOWN_HEAD + t + "\n" + rng.choice(UNKNOWN) + KNOWN_TAIL,
        "reordered": reordered,
    }


def another_company(title: str, names: Sequence[str], rng: random.Random) -> str:
    """Return the title with another company before its colon; unchanged if it names none."""
    name, colon, rest = title.partition("：")
    if not colon or not 3 <= len(name) <= 6 or len(rest) < 5:
        return title
    return rng.choice([other for other in names if other != name]) + colon + rest


def another_period(title: str, rng: random.Random) -> str:
    """Return the title with another year, quarter or kind of report; unchanged if it names none."""
    if found := YEAR.search(title):
        return title[: found.start()] + str(int(found[0]) - 1) + title[found.end() :]
    if found := QUARTER.search(title):
        return title[: found.start()] + rng.choice([q for q in "一二三四" if q != found[0]]) + title[found.end() :]
    for kind in ("半年报", "中报", "年报"):
        if kind in title:
            return title.replace(kind, "年报" if kind != "年报" else "半年报")
    return title


def unlike(texts: Sequence[str], n: int, most: float) -> list[str]:
    """Return the texts of which no two share more than `most` (Jaccard) of their plain character n-grams.

    What a real corpus repeats by itself is not labelled, so it must not be among the originals.
    """
    grams = [{text[i : i + n] for i in range(len(text) - n + 1)} for text in texts]
    ids: dict[str, int] = {}
    columns = [ids.setdefault(gram, len(ids)) for some in grams for gram in some]
    rows = np.repeat(np.arange(len(texts)), [len(some) for some in grams])
    matrix = csr_matrix((np.ones(len(columns), dtype=np.float32), (rows, columns)), shape=(len(texts), len(ids)))
    shared = (matrix @ matrix.T).tocoo()
    sizes = np.array([len(some) for some in grams])
    jaccard = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    late = shared.row[(shared.row > shared.col) & (jaccard > most)]
    return [text for place, text in enumerate(texts) if place not in set(late.tolist())]


def make(titles: Sequence[str], texts: Sequence[str], size: int, seed: int) -> list[dict[str, Any]]:
    """Return `size` title families and `size` text families in random order, each document with `family` and `kind`.

    A family is an original and one copy, or none; documents planted as different have families of their own. Few titles
    have an amount, so all of those are copied with another one.
    """
    rng = random.Random(seed)
    titles = unlike([t for t in rng.sample(list(titles), len(titles)) if 10 <= len(t) <= 30][: 4 * size], 2, 0.4)[:size]
    texts = unlike([t for t in rng.sample(list(texts), len(texts)) if 80 <= len(t) <= 3000][: 2 * size], 4, 0.2)[:size]
    names = sorted({t.partition("：")[0] for t in titles if 3 <= len(t.partition("：")[0]) <= 6 and "：" in t})
    rows: list[dict[str, Any]] = []
    for originals, copies, sort in ((titles, title_copies(), "title"), (texts, text_copies(), "text")):
        for place, original in enumerate(originals):
            family = f"{sort}-{place}"
            rows.append({"text": original, "family": family, "kind": f"{sort}/original"})
            kind = "numbers" if AMOUNT.search(original) and sort == "title" else rng.choice([*copies, "none"])
            changed = copies[kind](original, rng) if kind != "none" else original
            if changed != original:
                rows.append({"text": changed, "family": family, "kind": f"{sort}/{kind}"})
    for place, title in enumerate(titles):
        others = {"other_company": another_company(title, names, rng), "other_period": another_period(title, rng)}
        for kind, other in others.items():
            if other != title:
                rows.append({"text": other, "family": f"{kind}-{place}", "kind": f"title/{kind}"})
    rng.shuffle(rows)
    return rows
