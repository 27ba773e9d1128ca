"""Retrieval: passages on topics of invented companies, textbook terms, and questions that use other words."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from finbert2.samples.grammar import Grammar, pick, shuffled, stream, word_file
from finbert2.samples.names import Company, bindings, companies

SPLITS = ("train", "dev", "test")
COMPANIES, TOPICS_A_COMPANY = 150, 9
SECOND_SOURCE = 0.12
SHORTEST = 60
CLOSERS = (
    "这一概念常见于定期报告和研究报告，使用时要留意口径。",
    "读者在不同市场遇到的具体规定可能有别，应以当时的规则为准。",
    "实务中还要结合行业特点判断，不宜单独作为决策依据。",
)
NEGATIVES = (8, 8, 8, 8, 8, 9, 9, 10, 12, 15)


@dataclass(frozen=True, eq=False)
class Subject:
    """What a question can be about: a topic of a company, or a textbook term (company None)."""

    company: Company | None
    topic: str
    title: str
    texts: tuple[str, ...]
    query: str


@dataclass(frozen=True)
class Collection:
    """Passages (id to title and text), queries (id to text) and judgements (split to query id, passage id)."""

    passages: dict[str, tuple[str, str]]
    queries: dict[str, str]
    qrels: dict[str, list[tuple[str, str]]]
    triples: list[dict[str, str | list[str]]]


def collection(seed: int, sizes: Sequence[int] = (260, 60, 150)) -> Collection:
    """Return the passages and the queries of each split; a passage is relevant in one split only."""
    rng = stream(seed, "retrieval")
    subjects = shuffled(rng, _company_subjects(rng) + _concepts(rng))
    passages, places = _numbered(subjects)
    asked, queries, qrels = list[Subject](), dict[str, str](), dict[str, list[tuple[str, str]]]()
    pool = _with_new_query(subjects)
    for split, size in zip(SPLITS, sizes, strict=True):
        qrels[split] = []
        for subject in pool[len(asked) : len(asked) + size]:
            number = f"q{len(queries):04d}"
            queries[number] = subject.query
            qrels[split] += [(number, place) for place in places[subject.texts]]
        asked = pool[: len(asked) + size]
    triples = [_triple(subject, subjects, rng) for subject in pool[: sizes[0]]]
    return Collection(passages, queries, qrels, triples)


def _company_subjects(rng: Random) -> list[Subject]:
    grammar = Grammar.read("common.txt", "retrieval.txt")
    topics = sorted(rule.removesuffix(".query") for rule in grammar.rules if rule.endswith(".query"))
    # City and main product name one company, for a question may give only those.
    single = {(company.city, company.products[0]): company for company in companies()}
    chosen = shuffled(rng, list(single.values()))[:COMPANIES]
    return [
        _subject(grammar, rng, company, topic)
        for company in chosen
        for topic in shuffled(rng, topics)[:TOPICS_A_COMPANY]
    ]


def _subject(grammar: Grammar, rng: Random, company: Company, topic: str) -> Subject:
    known = {**bindings(company), "stem": company.stem}
    texts = [_passage(grammar, rng, known, topic) for _ in range(1 + (rng.random() < SECOND_SOURCE))]
    title, query = (grammar.write(f"{topic}.{part}", rng, known) for part in ("title", "query"))
    return Subject(company, topic, title, tuple(texts), query + pick(rng, ("", "", "？", "?")))


def _passage(grammar: Grammar, rng: Random, known: dict[str, str | Sequence[str]], topic: str) -> str:
    text = grammar.write(f"{topic}.text", rng, known)
    while len(text) < SHORTEST:
        text += grammar.write("tail", rng, known)
    return text


def _concepts(rng: Random) -> list[Subject]:
    rows = [line.split("|") for line in word_file("concepts.txt")]
    return [Subject(None, title, title, (_closed(text, rng),), pick(rng, queries)) for title, text, *queries in rows]


def _closed(text: str, rng: Random) -> str:
    while len(text) < SHORTEST:
        text += pick(rng, CLOSERS)
    return text


def _numbered(subjects: Sequence[Subject]) -> tuple[dict[str, tuple[str, str]], dict[tuple[str, ...], list[str]]]:
    passages: dict[str, tuple[str, str]] = {}
    places: dict[tuple[str, ...], list[str]] = {}
    for subject in subjects:
        for text in subject.texts:
            number = f"d{len(passages):05d}"
            passages[number] = (subject.title, text)
            places.setdefault(subject.texts, []).append(number)
    return passages, places


def _with_new_query(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the subjects without those whose question another subject asks too."""
    asked: dict[str, Subject] = {}
    for subject in subjects:
        asked.setdefault(subject.query, subject)
    return list(asked.values())


def _triple(subject: Subject, subjects: Sequence[Subject], rng: Random) -> dict[str, str | list[str]]:
    """Return a row of FlagEmbedding's format; most negatives share the company or the topic."""
    others = [other for other in shuffled(rng, subjects) if other != subject]
    same_company = [other for other in others if subject.company and other.company == subject.company]
    same_topic = [other for other in others if other.topic == subject.topic]
    near = same_company[:4] + same_topic[:3]
    wanted = pick(rng, NEGATIVES)
    negatives = near + [other for other in others if other not in near][: wanted - len(near)]
    return {
        "query": subject.query,
        "pos": list(subject.texts),
        "neg": [pick(rng, other.texts) for other in shuffled(rng, negatives)],
    }
