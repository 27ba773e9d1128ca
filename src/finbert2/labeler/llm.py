"""A large language model as labeler: prompts of a task's rows, labels or tags from its answers, and their cost."""

import importlib.resources
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.endpoint import THOUGHT, Answer
from finbert2.errors import UserError
from finbert2.labeler.data import SEPARATOR, Example, Sentence
from finbert2.labeler.features import Task
from finbert2.labeler.model import spans

AROUND = " \t\r\n\"'`“”‘’「」【】*。.,，：:"
NONE = "无"


def template(task: Task, path: str | None = None) -> str:
    """Return the prompt's text, the suite's own or a file's; it has the places {labels}, {examples} and {text}.

    Raises `UserError` for a file without one of them.
    """
    if path is None:
        kind = "ner" if task.kind == "ner" else "multi_label" if task.multi_label else "classification"
        return (importlib.resources.files("finbert2.labeler") / f"prompt_{kind}.txt").read_text(encoding="utf-8")
    text = "\n".join(line for _, line in files.read_lines(Path(path)))
    for place in ("{labels}", "{examples}", "{text}"):
        if place not in text:
            raise UserError(f"{path} has no {place}: a prompt needs {{labels}}, {{examples}} and {{text}}")
    return text


def prompts(task: Task, text: str, shots: int, longest: int, seed: int) -> list[str]:
    """Return the prompt of each test row; texts are cut to `longest` characters, head and tail kept.

    `shots` examples are drawn from the training rows, class by class in turn, the same for every row.
    """
    names = kinds(task.labels) if task.kind == "ner" else task.labels
    shown = "".join(
        f"文本：{cut(row.text, longest)}\n{'实体' if task.kind == 'ner' else '类别'}：{written(row)}\n\n"
        for row in examples(task.train, shots, seed)
    )
    between = " | " if any("、" in name for name in names) else "、"
    filled = {"{labels}": between.join(names), "{examples}": shown}
    return [fill(text, filled | {"{text}": cut(row.text, longest)}) for row in task.test]


def fill(text: str, places: dict[str, str]) -> str:
    """Return a prompt with its places filled in one pass: a text may hold the name of a place itself."""
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found.group()], text).strip()


def kinds(tags: Sequence[str]) -> list[str]:
    """Return the entity types of BIO tags."""
    return sorted({tag[2:] for tag in tags if tag != "O"})


def cut(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters: the head and as much of the tail."""
    return text if len(text) <= longest else f"{text[: longest // 2]}……{text[-(longest - longest // 2) :]}"


def examples(train: Sequence[Any], shots: int, seed: int) -> list[Any]:
    """Return `shots` training rows, one of each class in turn. Raises `UserError` if there are no training rows."""
    if not shots:
        return []
    if not train:
        raise UserError(f"--shots {shots} needs --train_data: the examples are drawn from it")
    classes: dict[str, list[Any]] = defaultdict(list)
    for row in random.Random(seed).sample(list(train), len(train)):
        classes[getattr(row, "label", "")].append(row)
    turns = (members[turn] for turn in range(len(train)) for members in classes.values() if turn < len(members))
    return [row for row, _ in zip(turns, range(shots), strict=False)]


def written(row: Any) -> str:
    """Return a row's label as the model is to write it."""
    if isinstance(row, Sentence):
        found = spans(row.text, row.tags, [1.0] * len(row.tags))
        return json.dumps([{"text": e.text, "type": e.type} for e in found], ensure_ascii=False)
    assert isinstance(row, Example)
    return row.label or NONE


def read_label(answer: str, labels: Sequence[str], multi_label: bool) -> str | None:
    """Return the label (or labels `a|b`) that an answer names, None if it names none or several.

    An answer is the label itself, or prose in which exactly one label occurs, longer names before their parts.
    """
    said = THOUGHT.sub("", answer).strip()
    if multi_label:
        if said.strip(AROUND) == NONE:
            return ""
        parts = [whole for line in re.split(r"[|\n]", said) if line.strip() for whole in listed(line, labels)]
        return SEPARATOR.join(sorted({part for part in parts if part})) if parts and None not in parts else None
    if (whole := same(said, labels)) is not None:
        return whole
    found = re.findall("|".join(map(re.escape, sorted(labels, key=len, reverse=True))), said)
    # Digits in prose are more often a number than a label.
    return found[0] if len(set(found)) == 1 and not found[0].isdigit() else None


def same(said: str, labels: Sequence[str]) -> str | None:
    """Return the label that was said: as it is written, without marks around it, or in other case if that is one's."""
    for name in (said.strip(), said.strip(AROUND)):
        if name in labels:
            return name
    like = [label for label in labels if label.casefold() == said.strip(AROUND).casefold()]
    return like[0] if len(like) == 1 else None


def listed(line: str, labels: Sequence[str]) -> list[str | None]:
    """Return the labels of a line: the one that it is as a whole, or those between commas, None where there is none."""
    whole = same(line, labels)
    return [whole] if whole is not None else [same(part, labels) for part in re.split("[、，,；;]", line)]


def read_tags(answer: str, sentence: Sentence, labels: Sequence[str]) -> list[str] | None:
    """Return the BIO tags of the entities in an answer, each at its next place in the sentence; None for no JSON array.

    An entity that is not in the sentence, or of another type, is passed over.
    """
    said = THOUGHT.sub("", answer)
    try:
        listed = json.loads(said[said.index("[") : said.rindex("]") + 1])
    except ValueError:
        return None
    tags, start = ["O"] * len(sentence.tags), 0
    for entity in listed:
        if not isinstance(entity, dict) or f"B-{entity.get('type')}" not in labels or not entity.get("text"):
            continue
        name, kind = str(entity["text"]), entity["type"]
        place = sentence.text.find(name, start)
        place = sentence.text.find(name) if place < 0 else place
        if place >= 0 and set(tags[place : place + len(name)]) == {"O"}:
            tags[place : place + len(name)] = [f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
            start = place + len(name)
    return tags


def cost(
    answers: Sequence[Answer], concurrency: int, price_in: float | None, price_out: float | None
) -> dict[str, Any]:
    """Return tokens, seconds and, if prices per million tokens are given, cost per 1,000 texts.

    The seconds are those of `concurrency` texts being asked at a time; tokens are 0 where the server does not count.
    """
    scale = 1000 / max(1, len(answers))
    tokens = {name: scale * sum(getattr(a, name) for a in answers) for name in ("prompt_tokens", "completion_tokens")}
    seconds = scale * sum(a.seconds for a in answers)
    table: dict[str, Any] = {f"{name}_per_1000": value for name, value in tokens.items()}
    table |= {"seconds_per_1000": seconds / concurrency, "latency_seconds": seconds / 1000}
    if price_in is not None and price_out is not None:
        table["cost_per_1000"] = (tokens["prompt_tokens"] * price_in + tokens["completion_tokens"] * price_out) / 1e6
    return table
