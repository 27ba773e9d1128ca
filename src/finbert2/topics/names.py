"""Names of the largest topics from a language model behind an OpenAI-compatible endpoint, kept on disk by prompt."""

import concurrent.futures
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finbert2 import files
from finbert2.endpoint import KEYS, THOUGHT, post
from finbert2.topics.model import Topic

log = logging.getLogger(__name__)

LONGEST = 24  # characters; a longer answer is a sentence, not a name
AT_ONCE = 4
TRIES = 4


@dataclass(frozen=True)
class Endpoint:
    """Where the model answers."""

    url: str  # up to and with /v1
    model: str
    timeout: float = 60.0
    first_wait: float = 1.0


def prompt(topic: Topic) -> str:
    """Return the Chinese prompt for a topic: its words and the titles nearest to its centre."""
    text = (Path(__file__).parent / "prompt_zh.txt").read_text(encoding="utf-8")
    return text.format(words="、".join(topic.words), titles="\n".join(f"- {title}" for title in topic.examples))


def ask(endpoint: Endpoint, text: str) -> str:
    """Return the model's answer, "" for a null one; `UserError` if the endpoint cannot be reached or refuses."""
    body = {"model": endpoint.model, "messages": [{"role": "user", "content": text}], "temperature": 0}
    return post(
        endpoint.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(),
        lambda answer, seconds: str(answer["choices"][0]["message"]["content"] or ""),
        timeout=endpoint.timeout, tries=TRIES, first_wait=endpoint.first_wait,
        check=f"check --llm_model, and {' or '.join(KEYS)} if it asks for a key",
        kept="check --llm_endpoint; without the flag topics are named by their words",
    )  # fmt: skip


def clean(answer: str) -> str:
    """Return the answer's first line that is no reasoning, quotes and full stops taken off; "" if it is no name."""
    answer = THOUGHT.sub("", answer).strip()
    name = answer.splitlines()[0].strip(" \t\"'“”‘’「」《》。.：:*#") if answer else ""
    return name if 0 < len(name) <= LONGEST else ""


def name_topics(topics: Sequence[Topic], endpoint: Endpoint, most: int, folder: Path) -> list[Topic]:
    """Return the topics, the `most` largest of them that have no name yet named by the model.

    Writes `names.csv`, what was shown beside what was answered, and keeps answers in `names_cache.json` by model and
    prompt: the same topic is asked once, unless nothing was said.
    """
    cache_path = folder / "names_cache.json"
    cache: dict[str, str] = json.loads(cache_path.read_text(encoding="utf-8")) if cache_path.exists() else {}
    asked = [topic for topic in topics if not topic.name][:most]
    prompts = {key(endpoint, prompt(topic)): prompt(topic) for topic in asked}
    missing = [text for name, text in prompts.items() if name not in cache]
    log.info("asking %s for %d names (%d known)", endpoint.model, len(missing), len(prompts) - len(missing))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {key(endpoint, text): pool.submit(ask, endpoint, text) for text in missing}
        try:
            for name, answer in waiting.items():
                cache[name] = answer.result()
        finally:  # what was answered before a refusal is kept
            for answer in waiting.values():
                answer.cancel()
            files.write_json(cache_path, {name: answer for name, answer in cache.items() if answer})
    names = {topic.topic: clean(cache[key(endpoint, prompt(topic))]) for topic in asked}
    files.write_rows(folder / "names.csv", (audit_row(topic, cache[key(endpoint, prompt(topic))]) for topic in asked))
    return [replace(topic, name=names.get(topic.topic) or topic.name) for topic in topics]


def key(endpoint: Endpoint, text: str) -> str:
    """Return the name under which an answer is kept."""
    return hashlib.sha256(f"{endpoint.model}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


def audit_row(topic: Topic, answer: str) -> dict[str, Any]:
    """Return what the model saw and said of a topic; an answer that is no name leaves `name` empty."""
    return {
        "topic": topic.topic, "size": topic.size, "name": clean(answer), "answer": answer,
        "words": " ".join(topic.words), "titles": " | ".join(topic.examples),
    }  # fmt: skip
