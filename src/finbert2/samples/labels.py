"""Sentiment (two and four classes) and industry classification, hard enough that single words do not decide."""

from collections.abc import Callable, Sequence
from random import Random

from finbert2.samples.grammar import Bindings, Grammar, pick, shuffled, stream
from finbert2.samples.names import companies, company_bindings, industries

Row = tuple[str, str]
Splits = dict[str, list[Row]]
Draw = Callable[[Random], Row]

SC_2_NAMES = ("负面", "正面")
SC_4_NAMES = ("负面", "中性", "正面", "不确定")
SIDES = ("neg", "pos")
TRAIN_NOISE = 0.04
BORROWED = ("product", "client", "theme", "cost")


def splits(seed: int, name: str, draw: Draw, sizes: Sequence[int]) -> Splits:
    """Return the train, dev and test rows of a task: no text twice, and wrong labels in train only."""
    rng = stream(seed, name)
    rows: dict[str, str] = {}
    while len(rows) < sum(sizes):
        text, label = draw(rng)
        rows.setdefault(text, label)
    labels, found, ends = sorted(set(rows.values())), list(rows.items()), (sizes[0], sizes[0] + sizes[1])
    train = [(text, pick(rng, labels) if rng.random() < TRAIN_NOISE else label) for text, label in found[: ends[0]]]
    return {"train": train, "dev": found[ends[0] : ends[1]], "test": found[ends[1] :]}


def sc_2(seed: int, sizes: Sequence[int] = (800, 150, 300)) -> Splits:
    """Return title and abstract of news and reports: 0 is negative, 1 positive."""
    grammar = Grammar.read("common.txt", "sentiment.txt")
    return splits(seed, "SC_2", lambda rng: _abstract(grammar, rng), sizes)


def _abstract(grammar: Grammar, rng: Random) -> Row:
    label = int(rng.random() < 0.6)
    known = company_bindings(rng)
    parts = [_stance(grammar, rng, known, label), grammar.write("filler", rng, known)]
    if rng.random() < 0.55:
        parts.append(grammar.write(SIDES[label], rng, known) + "。")
    if rng.random() < 0.3:
        parts.append(grammar.write("filler", rng, known))
    if rng.random() < 0.25:
        parts.append(grammar.write("verdict_" + SIDES[label], rng, known))
    if rng.random() < 0.3:
        parts.append(grammar.write("risks", rng, known))
    text = grammar.write("head", rng, known) + "".join(parts)
    least = 60 + 340 * rng.random() ** 8
    while len(text) < least:
        text += grammar.write("filler", rng, known)
    return text, str(label)


def _stance(grammar: Grammar, rng: Random, known: Bindings, label: int) -> str:
    """Return a sentence with the given stance: half also hold a clause of the other side that yields to it."""
    main = other = grammar.write(SIDES[label], rng, known)
    # Two clauses on the same subject would contradict each other.
    while other[:2] == main[:2]:
        other = grammar.write(SIDES[1 - label], rng, known)
    chance = rng.random()
    if chance < 0.30:
        return f"{grammar.write('though', rng)}{other}{grammar.write('but', rng)}{main}。"
    if chance < 0.40:
        return f"{other}{grammar.write('but', rng)}{main}。"
    if chance < 0.50:
        return f"{main}，{grammar.write('though', rng)}{other}。"
    return f"{main}，{grammar.write(SIDES[label], rng, known)}。"


def sc_4(seed: int, sizes: Sequence[int] = (1200, 200, 400)) -> Splits:
    """Return short news: 0 is negative, 1 neutral, 2 positive, 3 undecided."""
    grammar = Grammar.read("common.txt", "sentiment.txt")
    return splits(seed, "SC_4", lambda rng: _brief(grammar, rng), sizes)


def _brief(grammar: Grammar, rng: Random) -> Row:
    label = pick(rng, (0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3))
    known = company_bindings(rng)
    if label == 1:
        return grammar.write("neutral", rng, known) + "。", "1"
    if label == 3:
        rule = pick(rng, ("open", "split", "split"))
        head = grammar.write("head", rng, known) if rule == "split" else ""
        return head + grammar.write(rule, rng, known) + "。", "3"
    head, side = grammar.write("head", rng, known), label // 2
    if rng.random() < 0.5:
        return head + _stance(grammar, rng, known, side), str(label)
    return f"{head}{grammar.write(SIDES[side], rng, known)}。", str(label)


def industry(seed: int, sizes: Sequence[int] = (2000, 300, 700)) -> Splits:
    """Return short texts on a company; the label is the name of its industry, the classes are uneven."""
    grammar = Grammar.read("common.txt", "industry.txt")
    order = shuffled(stream(seed, "industry sizes"), list(industries()))
    chances = [name for place, name in enumerate(order) for _ in range(6 + 3 * (place % 7))]
    return splits(seed, "industry", lambda rng: _business(grammar, rng, pick(rng, chances)), sizes)


def _business(grammar: Grammar, rng: Random, label: str) -> Row:
    known = company_bindings(rng, [company for company in companies() if company.industry == label])
    # A company's name often ends in its trade; most texts go by the letters alone.
    if rng.random() < 0.85:
        known["company"] = str(known["company"])[:2] + pick(rng, ("股份", "控股", "集团", "科技"))
    other = industries()[pick(rng, [name for name in industries() if name != label])]
    known |= {"other_" + field: other[field] for field in BORROWED}
    rules = ["own"] + ["own"] * (rng.random() < 0.35) + ["other"] * (rng.random() < 0.75) + ["vague"]
    sentences = [grammar.write(rule, rng, known) for rule in shuffled(rng, rules)]
    return grammar.write("head", rng, known) + "；".join(sentences) + "。", label
