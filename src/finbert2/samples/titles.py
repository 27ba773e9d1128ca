"""Titles of research reports over eighteen months for topic models: themes come and go with time."""

from datetime import date, timedelta
from random import Random

from finbert2.samples.documents import FULL_WIDTH
from finbert2.samples.grammar import Grammar, pick, shuffled, stream
from finbert2.samples.names import brokers, companies, company_bindings, industries

Title = tuple[str, str, str, str]

FIRST_DAY, DAYS = date(2024, 1, 2), 546
INDUSTRIES = 24
NAMED, ENGLISH, COPIED = 0.16, 0.02, 0.02


def titles(seed: int, size: int = 3500) -> list[Title]:
    """Return title, ISO date, industry and broker of each report, by date; some titles appear twice."""
    rng = stream(seed, "titles")
    grammar = Grammar.read("titles.txt")
    order = shuffled(rng, list(industries()))[:INDUSTRIES]
    chances = [name for place, name in enumerate(order) for _ in range(3 + place)]
    peaks = {theme: rng.random() * DAYS for name in order for theme in industries()[name]["theme"]}
    rows = [_title(grammar, rng, pick(rng, chances), peaks) for _ in range(int(size * (1 - COPIED)))]
    rows += [(*pick(rng, rows)[:3], pick(rng, brokers())) for _ in range(size - len(rows))]
    return sorted(rows, key=lambda row: row[1])


def _title(grammar: Grammar, rng: Random, industry: str, peaks: dict[str, float]) -> Title:
    known = company_bindings(rng, [company for company in companies() if company.industry == industry])
    day = rng.random() * DAYS
    # A third of the themes is alive on a day: those whose peak is nearest.
    alive = sorted(industries()[industry]["theme"], key=lambda theme: abs(peaks[theme] - day))
    known |= _season(FIRST_DAY + timedelta(days=int(day)))
    chance = rng.random()
    rule = "english" if chance < ENGLISH else "named" if chance < ENGLISH + NAMED else "title"
    title = _flaws(grammar.write(rule, rng, known | {"theme": alive[:4]}), rng)
    return title, (FIRST_DAY + timedelta(days=int(day))).isoformat(), industry, pick(rng, brokers())


def _season(day: date) -> dict[str, str]:
    """Return what a title may say of the day: its week, its month, the year's outlook and the latest report."""
    last = day.year - 1
    reports = (f"{last}业绩预告", f"{last}年报及{day.year}Q1", f"{day.year}H1", f"{day.year}三季报")
    return {
        "week_number": str(day.isocalendar().week),
        "month": str(day.month),
        "yy": str(day.year + (day.month > 9)),
        "yq": reports[(day.month - 1) // 3],
    }


def _flaws(title: str, rng: Random) -> str:
    """Return the title, six times in a hundred with stray blanks or full-width letters and digits."""
    chance = rng.random()
    if chance < 0.02:
        return title.replace("：", "： ").replace("，", " ")
    if chance < 0.03:
        return f" {title} "
    if chance < 0.06:
        return title.translate(FULL_WIDTH)
    return title
