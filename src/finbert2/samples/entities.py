"""Entity recognition: sentences with companies and people, most of the test part's names unseen in training."""

from collections.abc import Sequence
from random import Random

from finbert2.samples.grammar import Bindings, Grammar, pick, shuffled, stream
from finbert2.samples.names import company_bindings, words

Tagged = list[tuple[str, str]]
Entities = dict[str, list[Tagged]]

SPLITS = ("train", "dev", "test")
SEEN_IN_TEST = 0.15
OPENING, CLOSING = "⟦", "⟧"
FOREIGN_NAMES = 50


def company(seed: int, sizes: Sequence[int] = (700, 120, 250)) -> Entities:
    """Return the sentences in which companies are tagged (ORG)."""
    return _splits(seed, "org", sizes)


def person(seed: int, sizes: Sequence[int] = (700, 120, 250)) -> Entities:
    """Return the sentences in which people are tagged (PER)."""
    return _splits(seed, "per", sizes)


def _splits(seed: int, kind: str, sizes: Sequence[int]) -> Entities:
    """Return the sentences of each part; a part has its own names, no sentence stands in two parts."""
    rng = stream(seed, f"entities of kind {kind}")
    grammar, seen = Grammar.read("common.txt", "entities.txt"), set[str]()
    found: Entities = {}
    for split, size, pool in zip(SPLITS, sizes, _pools(grammar, rng), strict=True):
        found[split] = []
        while len(found[split]) < size:
            sentence = _sentence(grammar, rng, kind, pool)
            if sentence not in seen:
                seen.add(sentence)
                found[split].append(_tag(sentence, kind.upper()))
    return found


def _pools(grammar: Grammar, rng: Random) -> list[dict[str, list[str]]]:
    """Return the names of each part: those of dev and test are new but for some that train has too."""
    pools: list[dict[str, list[str]]] = [{} for _ in SPLITS]
    stems = shuffled(rng, words("stems.txt"))
    foreign = sorted({grammar.write("foreign", rng) for _ in range(FOREIGN_NAMES)})
    cities = words("cities.txt")
    named = [grammar.write("org_name", rng, {"stem": stem, "city": cities}) for stem in stems[:600]]
    names = {"org": named, "per": shuffled(rng, [*words("people.txt"), *foreign]), "stem": stems[600:]}
    for kind, entries in names.items():
        ends = [0, int(0.6 * len(entries)), int(0.7 * len(entries)), len(entries)]
        for place, pool in enumerate(pools):
            own = entries[ends[place] : ends[place + 1]]
            pool[kind] = own + pools[0][kind][: int(SEEN_IN_TEST * len(own))] if place else own
    return pools


def _sentence(grammar: Grammar, rng: Random, kind: str, pool: dict[str, list[str]]) -> str:
    """Return a sentence in which the entities of one kind stand between marks."""
    known: dict[str, str | Sequence[str]] = {**company_bindings(rng), **pool}
    known["surname"] = [name[0] for name in pool["per"] if "·" not in name]
    known[kind] = [OPENING + name + CLOSING for name in pool[kind]]
    parts = [_part(grammar, rng, kind, known) for _ in range(1 + (rng.random() < 0.12))]
    return "".join(parts).replace(" ", "")


def _part(grammar: Grammar, rng: Random, kind: str, known: Bindings) -> str:
    """Return a sentence: three in four hold the kind of entity, one in four has only what resembles it."""
    templates = grammar.rules["sentence"]
    holding = [template for template in templates if "{" + kind + "}" in template]
    if rng.random() < 0.75:
        return grammar.fill(pick(rng, holding), rng, known)
    without = [template for template in templates if template not in holding]
    return grammar.fill(pick(rng, [*without, *grammar.rules["plain"]]), rng, known)


def _tag(sentence: str, label: str) -> Tagged:
    """Return the characters of a marked sentence with their BIO tags."""
    tagged: Tagged = []
    tag = "O"
    for char in sentence:
        if char == OPENING:
            tag = f"B-{label}"
        elif char == CLOSING:
            tag = "O"
        else:
            tagged.append((char, tag))
            tag = tag.replace("B-", "I-")
    return tagged
