"""An OpenAI-compatible server: prompts in, answers out, each asked once and kept on disk."""

import hashlib
import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from finbert2 import files
from finbert2.errors import UserError

log = logging.getLogger(__name__)
KEYS = ("FINBERT2_LLM_KEY", "OPENAI_API_KEY")
LONGEST_WAIT = 60.0
PASSING = (408, 409, 425, 429)  # besides 5xx: worth another try


@dataclass(frozen=True)
class Answer:
    """What a server said, its count of tokens (0 if it gives none) and the seconds of the last try."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


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

        Raises `UserError` if the server refuses a request for good, or does not answer in `retries` tries; what was
        answered until then is kept.
        """
        with ThreadPoolExecutor(self.concurrency) as pool:
            waiting = pool.map(self.ask, prompts)
            try:
                return list(tqdm(waiting, total=len(prompts), desc=self.model, unit="text"))
            except UserError:
                pool.shutdown(cancel_futures=True)
                raise

    def ask(self, prompt: str) -> Answer:
        """Return the answer to one prompt, from the disk if it was asked before."""
        request = {
            "model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0,
            "max_tokens": self.max_tokens,
        }  # fmt: skip
        body = json.dumps(request, ensure_ascii=False, sort_keys=True).encode()
        path = self.cache / f"{hashlib.sha256(self.url.encode() + body).hexdigest()}.json"
        if path.exists():
            return Answer(**json.loads(path.read_text(encoding="utf-8")))
        answer = self.insist(body)
        files.write_json(path, asdict(answer))
        return answer

    def insist(self, body: bytes) -> Answer:
        """Return the answer to a request, tried again with growing waits where the failure may pass."""
        reason, wait = "", self.first_wait
        for number in range(self.retries):
            try:
                return self.send(body)
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code not in PASSING and error.code < 500:
                    raise UserError(
                        f"{self.url} refused a request ({reason}: {error.read(300).decode('utf-8', 'replace')}): check "
                        f"--endpoint, --llm_model and the key ({' or '.join(KEYS)} in the environment)"
                    ) from None
                asked = error.headers.get("Retry-After", "")
                pause = float(asked) if asked.replace(".", "", 1).isdigit() else wait
            except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
                reason, pause = f"{type(error).__name__}: {error}", wait  # no connection, time-out, half an answer
            log.debug("labeler: try %d of %d failed (%s)", number + 1, self.retries, reason)
            if number + 1 < self.retries:
                # Clients that failed together should not come back together.
                time.sleep(min(LONGEST_WAIT, pause) * random.uniform(0.75, 1.25))
            wait *= 2
        raise UserError(
            f"{self.url} did not answer in {self.retries} tries (last: {reason}): answers so far are kept in "
            f"{self.cache}, the same command goes on after them"
        )

    def send(self, body: bytes) -> Answer:
        """Return the answer to one HTTP request; raises whatever goes wrong."""
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        started = time.perf_counter()
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            content: dict[str, Any] = json.loads(response.read())
        text = content["choices"][0]["message"]["content"]
        usage = content.get("usage") or {}
        return Answer(
            text or "", int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0),
            time.perf_counter() - started,
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
