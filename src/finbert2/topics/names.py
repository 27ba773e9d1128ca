"""Names of the largest topics from a language model behind an OpenAI-compatible endpoint."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.endpoint import THOUGHT, Answer, Chat
from finbert2.topics.model import Topic

log = logging.getLogger(__name__)

LONGEST = 24  # characters; a longer answer is a sentence, not a name


def prompt(topic: Topic) -> str:
    """Return the Chinese prompt for a topic: its words and the titles nearest to its centre."""
    text = (Path(__file__).parent / "prompt_zh.txt").read_text(encoding="utf-8")
    return text.format(words="、".join(topic.words), titles="\n".join(f"- {title}" for title in topic.examples))


def clean(answer: str) -> str:
    """Return the answer's first line that is no reasoning, quotes and full stops taken off; "" if it is no name."""
    answer = THOUGHT.sub("", answer).strip()
    name = answer.splitlines()[0].strip(" \t\"'“”‘’「」《》。.：:*#") if answer else ""
    return name if 0 < len(name) <= LONGEST else ""


def name_topics(topics: Sequence[Topic], chat: Chat, most: int, folder: Path) -> list[Topic]:
    """Return the topics, the `most` largest of them that have no name yet named by the model.

    Writes `names.csv`, what was shown beside what was answered, or why it was refused.
    """
    asked = [topic for topic in topics if not topic.name][:most]
    answers = chat.ask_all([prompt(topic) for topic in asked])
    files.write_rows(folder / "names.csv", map(audit_row, asked, answers))
    refused = sum(bool(answer.refused) for answer in answers)
    if refused:
        log.warning(
            "topics: the server refused %d of %d prompts for a name, these topics keep their words; why stands in %s",
            refused, len(asked), folder / "names.csv",
        )  # fmt: skip
    names = {topic.topic: clean(answer.text) for topic, answer in zip(asked, answers, strict=True)}
    return [replace(topic, name=names.get(topic.topic) or topic.name) for topic in topics]


def audit_row(topic: Topic, answer: Answer) -> dict[str, Any]:
    """Return what the model saw and said of a topic, or the refusal; an answer that is no name leaves `name` empty."""
    return {
        "topic": topic.topic, "size": topic.size, "name": clean(answer.text),
        "answer": answer.text or answer.refused,
        "words": " ".join(topic.words), "titles": " | ".join(topic.examples),
    }  # fmt: skip
