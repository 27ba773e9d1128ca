"""Invented companies, people, brokers and the words of the 28 CITIC industries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from finbert2.samples.grammar import pick, word_file

COMPANIES_AN_INDUSTRY = 15
BROKERS = 12
# The market shares no codes in these ranges; a reader cannot take a sample company for a listed one.
CODE_RANGES = (("699", "SH"), ("009", "SZ"), ("309", "SZ"), ("608", "SH"))


@dataclass(frozen=True, eq=False)
class Company:
    """An invented listed company."""

    stem: str
    name: str
    full_name: str
    code: str
    industry: str
    city: str
    products: tuple[str, ...]
    people: tuple[str, ...]


@cache
def words(name: str) -> tuple[str, ...]:
    """Return the words of a word file, whatever lines they stand in."""
    return tuple(" ".join(word_file(name)).split())


@cache
def industries() -> dict[str, dict[str, list[str]]]:
    """Return the word fields of each industry."""
    table: dict[str, dict[str, list[str]]] = {}
    for line in word_file("industries.txt"):
        if line.startswith("["):
            fields = table.setdefault(line[1:-1], {})
        else:
            field, *entries = line.split()
            fields[field] = entries
    return table


@cache
def companies() -> tuple[Company, ...]:
    """Return the listed companies of the sample; they are the same for every seed."""
    rng = Random("finbert2.samples:companies")
    places = [name for name in industries() for _ in range(COMPANIES_AN_INDUSTRY)]
    people = words("people.txt")
    return tuple(
        _company(number, stem, industry, people, rng)
        for number, (stem, industry) in enumerate(zip(words("stems.txt"), places, strict=False))
    )


def _company(number: int, stem: str, industry: str, people: Sequence[str], rng: Random) -> Company:
    fields = industries()[industry]
    suffix, city = pick(rng, fields["suffix"]), pick(rng, words("cities.txt"))
    first = int(rng.random() * len(fields["product"]))
    prefix, market = CODE_RANGES[number % len(CODE_RANGES)]
    return Company(
        stem=stem,
        name=stem + suffix,
        full_name=f"{city}{stem}{suffix.removesuffix('股份')}股份有限公司",
        code=f"{prefix}{number:03d}.{market}",
        industry=industry,
        city=city,
        products=tuple((fields["product"] * 2)[first : first + 3]),
        people=tuple(people[(3 * number + place) % len(people)] for place in range(3)),
    )


def spare_stems() -> tuple[str, ...]:
    """Return the company stems that no listed company of the sample bears."""
    return words("stems.txt")[len(industries()) * COMPANIES_AN_INDUSTRY :]


@cache
def brokers() -> tuple[str, ...]:
    """Return the names of the brokers."""
    return tuple(stem + "证券" for stem in spare_stems()[:BROKERS])


def bindings(company: Company) -> dict[str, str | Sequence[str]]:
    """Return what a grammar may say of a company: its names, its people and the words of its industry."""
    return {
        **industries()[company.industry],
        "company": company.name,
        "full": company.full_name,
        "code": company.code,
        "city": company.city,
        "industry": company.industry,
        "product": company.products[1:],
        "main": company.products[0],
        "chair": company.people[0],
        "secretary": company.people[1],
        "officer": company.people[2],
        "broker": brokers(),
    }


def company_bindings(rng: Random, chosen: Sequence[Company] | None = None) -> dict[str, str | Sequence[str]]:
    """Return the bindings of a company drawn at random."""
    return bindings(pick(rng, chosen or companies()))
