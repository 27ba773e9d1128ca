"""An OpenAI-compatible server: prompts in, answers out, each asked once and kept on disk."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from finbert2 import files
from finbert2.endpoint import KEYS, TOO_MUCH, Refused, post
from finbert2.errors import UserError


@dataclass(frozen=True)
class Answer:
    """What a server said, its count of tokens (0 if it gives none) and the seconds of the last try.

    `refused` says why the server would not read the text: its content, its length; nothing was answered then.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    refused: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently. The key is read from the environment when it is sent, and kept nowhere."""

    url: str
    model: str
    cache: Path
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 6
    max_tokens: int = 256
    first_wait: float = 1.0  # seconds before the second try; doubled from try to try

    def ask_all(self, prompts: Sequence[str]) -> list[Answer]:
        """Return the answer to each prompt, those asked before from the disk.

        Raises `UserError` if the server refuses a request for good, or all of them, or does not answer in `retries`
        tries; what was answered until then is kept.
        """
        with ThreadPoolExecutor(self.concurrency) as pool:
            waiting = pool.map(self.ask, prompts)
            try:
                answers = list(tqdm(waiting, total=len(prompts), desc=self.model, unit="text"))
            except UserError:
                pool.shutdown(cancel_futures=True)
                raise
        if answers and all(answer.refused for answer in answers):  # then it is not for the texts
            raise UserError(answers[0].refused)
        return answers

    def ask(self, prompt: str) -> Answer:
        """Return the answer to one prompt, from the disk if it was asked before; a refused one is not kept there."""
        request = {
            "model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0,
            "max_tokens": self.max_tokens,
        }  # fmt: skip
        body = json.dumps(request, ensure_ascii=False, sort_keys=True).encode()
        path = self.cache / f"{hashlib.sha256(self.url.encode() + body).hexdigest()}.json"
        if path.exists():
            return Answer(**json.loads(path.read_text(encoding="utf-8")))
        try:
            answer = post(
                f"{self.url.rstrip('/')}/chat/completions", body, read_answer, timeout=self.timeout, tries=self.retries,
                first_wait=self.first_wait,
                check=f"check --endpoint, --llm_model and the key ({' or '.join(KEYS)} in the environment)",
                kept=f"answers so far are kept in {self.cache}, the same command goes on after them",
            )  # fmt: skip
        except Refused as error:
            if error.status not in TOO_MUCH:
                raise
            return Answer("", 0, 0, 0.0, refused=str(error))
        files.write_json(path, asdict(answer))
        return answer


def read_answer(content: Any, seconds: float) -> Answer:
    """Return a chat completion as an `Answer`; a server need not count tokens."""
    usage = content.get("usage") or {}
    return Answer(
        content["choices"][0]["message"]["content"] or "", int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0), seconds,
    )  # fmt: skip


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
