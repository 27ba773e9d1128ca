"""A small context-free grammar that writes sentences, and the two random draws that all generators share."""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from random import Random
from typing import TypeVar

T = TypeVar("T")
Bindings = Mapping[str, str | Sequence[str]]

SLOT = re.compile(r"\{([^{}]*)\}")


def stream(seed: int, name: str) -> Random:
    """Return the generator of one file, so that a change to one file leaves the others alone."""
    return Random(f"finbert2.samples:{seed}:{name}")


# Only Random.random() is promised to repeat from one Python release to the next, so both draws rest on it.
def pick(rng: Random, items: Sequence[T]) -> T:
    """Return one item, each with the same chance."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """Return the items in random order."""
    order = sorted((rng.random(), place) for place in range(len(items)))
    return [items[place] for _, place in order]


def word_file(name: str) -> list[str]:
    """Return the lines of a word file of this package without blank lines and comments."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


class Grammar:
    """Rules with alternatives.

    In an alternative ``{rule}`` is another rule, ``{a|b}`` a choice, ``{#1-9.2}`` a number from 1 to 9 with two
    decimals; ``{x=rule}`` keeps what it wrote for a later ``{x}``.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        """Keep the alternatives of each rule."""
        self.rules = rules

    @classmethod
    def read(cls, *files: str) -> "Grammar":
        """Read grammar files: a line ``@rule`` opens a rule, each further line is one alternative."""
        rules: dict[str, list[str]] = {}
        for line in (line for name in files for line in word_file(name)):
            if line.startswith("@"):
                current = rules.setdefault(line[1:], [])
            else:
                current.append(line)
        return cls(rules)

    def write(self, rule: str, rng: Random, bindings: Bindings | None = None) -> str:
        """Return one text of a rule; a bound name goes before a rule of the same name."""
        return self.fill("{" + rule + "}", rng, bindings)

    def fill(self, template: str, rng: Random, bindings: Bindings | None = None) -> str:
        """Replace the slots of a template from the inside out until none is left."""
        known = dict(bindings or {})
        while slot := SLOT.search(template):
            value = self._value(slot[1], rng, known)
            template = template[: slot.start()] + value + template[slot.end() :]
        return template

    def _value(self, slot: str, rng: Random, known: dict[str, str | Sequence[str]]) -> str:
        if "|" in slot:
            return pick(rng, slot.split("|"))
        if slot.startswith("#"):
            return _number(slot[1:], rng)
        name, memo, rule = slot.partition("=")
        choices = known.get(rule or name) or self.rules.get(rule or name)
        if not choices:
            raise KeyError(f"the grammar has no rule {slot!r}")
        value = choices if isinstance(choices, str) else pick(rng, choices)
        if memo:
            known[name] = value = self.fill(value, rng, known)
        return value


def _number(span: str, rng: Random) -> str:
    """Return a number of a span such as ``3-40.1``: from 3 to 40 with one decimal."""
    low, _, rest = span.partition("-")
    high, _, decimals = rest.partition(".")
    value = float(low) + rng.random() * (float(high) - float(low))
    return f"{value:.{int(decimals or 0)}f}"
