"""The corpus: company announcements, newswire, report abstracts and minutes, with the flaws that real text has."""

import re
from collections.abc import Sequence
from random import Random

from finbert2.samples.grammar import Bindings, Grammar, pick, shuffled, stream
from finbert2.samples.names import company_bindings, industries

Document = dict[str, str]

KINDS = ("announcement",) * 30 + ("news",) * 44 + ("report",) * 23 + ("minutes",) * 3
INDUSTRY_FIELDS = ("theme", "client", "cost", "kpi")
EXACT_COPIES, NEAR_COPIES = 0.03, 0.03
FLAWS = (
    *["none"] * 66,
    *["ending"] * 7,
    *["page", "html", "wide", "blank"] * 4,
    *["waste", "unseen", "dash"] * 3,
    *["narrow"] * 2,
)
FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}


def corpus(seed: int, documents: int) -> list[Document]:
    """Return documents in random order, about six in a hundred of them a copy or a near copy of another one."""
    rng = stream(seed, "corpus")
    grammar = Grammar.read("common.txt", "documents.txt")
    copies, near = int(documents * EXACT_COPIES), int(documents * NEAR_COPIES)
    firsts = [_document(grammar, rng) for _ in range(documents - copies - near)]
    seconds = [dict(pick(rng, firsts)) for _ in range(copies)]
    thirds = [_near_copy(pick(rng, firsts), grammar, rng) for _ in range(near)]
    return shuffled(rng, firsts + seconds + thirds)


def lines(seed: int, documents: int) -> list[str]:
    """Return documents of one line each, drawn from a stream of their own."""
    rng = stream(seed, "tokenizer corpus")
    grammar = Grammar.read("common.txt", "documents.txt")
    texts = (_document(grammar, rng)["text"] for _ in range(10 * documents))
    short = (text.replace("\n", " ") for text in texts if 40 <= len(text) <= 280)
    return [text for _, text in zip(range(documents), short, strict=False)]


def _document(grammar: Grammar, rng: Random) -> Document:
    kind, known = pick(rng, KINDS), company_bindings(rng)
    known = _settled(grammar, rng, known)
    known |= dict(pick(rng, list(zip(*_alike(grammar, "topic_ann", "body_ann"), strict=True))))
    text = _minutes(grammar, rng, known) if kind == "minutes" else _block(grammar, kind, rng, known)
    return {"text": _flaws(text, grammar, rng, known), "source": kind}


def _settled(grammar: Grammar, rng: Random, known: Bindings) -> dict[str, str | Sequence[str]]:
    """Return the bindings with one value for what a text should not contradict itself in."""
    open_choices = {**known, **{name: industries()[str(known["industry"])][name] for name in INDUSTRY_FIELDS}}
    return open_choices | {
        name: grammar.write(name, rng, open_choices) for name in (*INDUSTRY_FIELDS, "region", "period")
    }


def _alike(grammar: Grammar, *rules: str) -> list[list[tuple[str, str]]]:
    """Return the alternatives of rules that go together, each with the name of its rule."""
    return [[(rule, template) for template in grammar.rules[rule]] for rule in rules]


def _minutes(grammar: Grammar, rng: Random, known: Bindings) -> str:
    """Return the minutes of a conference call: 4 to 32 questions, 500 to 3,500 characters."""
    marks = pick(rng, (("Q：", "A："), ("问：", "答："), ("提问：", "回复："), ("Q: ", "A: ")))
    parts = [_block(grammar, rule, rng, known) for rule in ("minutes_head", "minutes_intro")]
    order = shuffled(rng, range(len(grammar.rules["question"]))) * 3
    for number, place in enumerate(order[: 4 + int(rng.random() ** 2 * 29)], start=1):
        mark = marks[0] if rng.random() < 0.5 else f"{number}、"
        follow = grammar.write("follow", rng, known) if rng.random() < 0.5 else ""
        settled = _settled(grammar, rng, known)
        asked, answer = (grammar.fill(grammar.rules[rule][place], rng, settled) for rule in ("question", "answer"))
        parts.append(f"{mark}{asked}？\n{marks[1]}{answer}{follow}\n")
    return "".join(parts) + grammar.write("minutes_end", rng, known)


def _flaws(text: str, grammar: Grammar, rng: Random, known: Bindings) -> str:
    """Return the text with what scraping leaves behind; two thirds of the texts stay clean."""
    flaw = pick(rng, FLAWS)
    if flaw == "ending":
        return text + "\n" + _block(grammar, pick(rng, ("disclaimer", "disclaimer", "table")), rng, known)
    if flaw == "page":
        return _block(grammar, "page_header", rng, known) + text
    if flaw == "waste":
        return _block(grammar, pick(rng, ("scrap", "foreign")), rng, known)
    return _marks(text, flaw, rng)


def _block(grammar: Grammar, rule: str, rng: Random, known: Bindings) -> str:
    return grammar.write(rule, rng, known).replace("\\n", "\n")


def _marks(text: str, flaw: str, rng: Random) -> str:
    """Return the text with one kind of flaw in its characters."""
    if flaw == "html":
        return re.sub("[。\n]", lambda hit: hit[0] + pick(rng, ("", "", "<br>", "&nbsp;&nbsp;", "<br/>")), text)
    if flaw == "unseen":
        return _sprinkle(text, pick(rng, ("\u200b", "\ufeff", "\u00ad")), 0.03, rng)
    if flaw == "wide":
        return re.sub("[0-9A-Za-z.%]+", lambda hit: hit[0].translate(FULL_WIDTH), text)
    if flaw == "blank":
        return _sprinkle(text, pick(rng, (" ", "\u3000", "  ", "\t")), 0.06, rng)
    if flaw == "narrow":
        return text.translate(str.maketrans("，。：；？（）", ",.:;?()"))
    if flaw == "dash":
        return text.replace("。", "……", 1).replace("；", "——", 1)
    return text


def _sprinkle(text: str, mark: str, share: float, rng: Random) -> str:
    return "".join(char + mark if rng.random() < share else char for char in text)


def _near_copy(document: Document, grammar: Grammar, rng: Random) -> Document:
    """Return the document with one changed figure, a changed head or some boilerplate behind it."""
    text, known = document["text"], company_bindings(rng)
    change = pick(rng, ("figure", "head", "tail"))
    if change == "figure":
        text = re.sub(r"[1-9]\d*", lambda hit: str(int(hit[0]) + 1), text, count=2)
    elif change == "head":
        text = grammar.write("lead_news", rng, known) + text
    else:
        text += grammar.write("disclaimer", rng, known)
    return {"text": text, "source": document["source"]}
