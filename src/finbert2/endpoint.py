"""Requests to an OpenAI-compatible server, tried again where the failure may pass."""

import hashlib
import http.client
import json
import logging
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from finbert2 import files
from finbert2.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
# What a model thought before it answered; templates of models that think may open it in the prompt.
THOUGHT = re.compile(r"^.*</think>|<think>.*$", re.S)
KEYS = ("FINBERT2_LLM_KEY", "OPENAI_API_KEY")
LONGEST_WAIT = 60.0
TOO_MUCH = (400, 413)  # what a server answers to one text that it will not or cannot read
PASSING = (408, 409, 425, 429)  # besides 5xx: worth another try


class Refused(UserError):
    """A server refused a request for good, with an HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def post(
    url: str, body: bytes, read: Callable[[Any, float], T], *, check: str, kept: str, timeout: float = 60.0,
    tries: int = 6, first_wait: float = 1.0,
) -> T:  # fmt: skip
    """Return what `read` makes of the server's JSON answer and the seconds it took.

    A busy or absent server, half an answer, and one that `read` cannot read (it raises `LookupError`, `TypeError`,
    `ValueError` or `AttributeError`) are asked again, `first_wait` seconds later, then twice as many. The key is read
    from the environment when it is sent, and kept nowhere. Raises `Refused` if the server refuses for good, with what
    to `check`; `UserError` if it does not answer in `tries` tries, with what is `kept`, or if the key cannot be one.
    """
    headers = {"Content-Type": "application/json"} | authorization()
    reason, wait = "", first_wait
    for number in range(tries):
        try:
            return send(url, body, headers, read, timeout)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code not in PASSING and error.code < 500:
                said = error.read(300).decode("utf-8", "replace")
                raise Refused(f"{url} refused a request ({reason}: {said}): {check}", error.code) from None
            asked = error.headers.get("Retry-After", "")
            pause = float(asked) if asked.replace(".", "", 1).isdigit() else wait
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
            reason, pause = f"{type(error).__name__}: {error}", wait  # no connection, time-out, half an answer
        log.debug("%s: try %d of %d failed (%s)", url, number + 1, tries, reason)
        if number + 1 < tries:
            # Clients that failed together should not come back together.
            time.sleep(min(LONGEST_WAIT, pause) * random.uniform(0.75, 1.25))
        wait *= 2
    raise UserError(f"{url} did not answer in {tries} tries (last: {reason}): {kept}")


def authorization() -> dict[str, str]:
    """Return the header with the key that the environment holds, none without; no error ever shows a key."""
    name = next((name for name in KEYS if os.environ.get(name)), "")
    key = os.environ.get(name, "").strip()  # a key from a file often ends in a line break
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{name} holds characters that no key has (line breaks, or others than ASCII): set it anew")
    return {"Authorization": f"Bearer {key}"} if key else {}


def send(url: str, body: bytes, headers: dict[str, str], read: Callable[[Any, float], T], timeout: float) -> T:
    """Return what `read` makes of the answer to one HTTP request; raises whatever goes wrong."""
    started = time.perf_counter()
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        content = json.loads(response.read())
    return read(content, time.perf_counter() - started)


@dataclass(frozen=True)
class Answer:
    """What a model said, the server's count of tokens (0 if it gives none) and the seconds of the last try.

    `refused` says why the server would not read the text: its content, its length; nothing was answered then.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    refused: str = ""


@dataclass(frozen=True)
class Chat:
    """A chat model: prompts in, answers out, each asked once and kept in a file of the folder `cache`.

    `flags` are those by which the user named it, for the messages.
    """

    url: str  # up to and with /v1
    model: str
    cache: Path
    flags: str = "--endpoint, --llm_model"
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 6
    max_tokens: int | None = None
    first_wait: float = 1.0  # seconds before the second try; doubled from try to try

    def ask_all(self, prompts: Sequence[str]) -> list[Answer]:
        """Return the answer to each prompt, those asked before from the disk, equal ones asked once.

        Raises `UserError` if the server refuses a request for good, or all of them, or does not answer in `retries`
        tries; what was answered until then is kept.
        """
        with ThreadPool(self.concurrency) as pool:  # of daemons: an executor's threads would keep Ctrl-C waiting
            distinct = list(dict.fromkeys(prompts))
            waiting = pool.imap(self.ask, distinct)
            try:
                answers = list(tqdm(waiting, total=len(distinct), desc=self.model, unit="text"))
            except UserError:
                pool.terminate()
                pool.join()
                raise
        if answers and all(answer.refused for answer in answers):  # then it is not for the texts
            raise UserError(answers[0].refused)
        said = dict(zip(distinct, answers, strict=True))
        return [said[prompt] for prompt in prompts]

    def ask(self, prompt: str) -> Answer:
        """Return the answer to one prompt, from the disk if it was asked before; one of nothing is not kept there."""
        request = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        if self.max_tokens is not None:
            request["max_tokens"] = self.max_tokens
        body = json.dumps(request, ensure_ascii=False, sort_keys=True).encode()
        path = self.cache / f"{hashlib.sha256(self.url.encode() + body).hexdigest()}.json"
        if path.exists():
            return Answer(**json.loads(path.read_text(encoding="utf-8")))
        try:
            answer = post(
                f"{self.url.rstrip('/')}/chat/completions", body, read_answer, timeout=self.timeout, tries=self.retries,
                first_wait=self.first_wait,
                check=f"check {self.flags} and the key ({' or '.join(KEYS)} in the environment)",
                kept=f"check {self.flags}; answers so far are kept in {self.cache}, the same command goes on after "
                "them",
            )  # fmt: skip
        except Refused as error:
            if error.status not in TOO_MUCH:
                raise
            return Answer("", 0, 0, 0.0, refused=str(error))
        if answer.text:
            files.write_json(path, asdict(answer))
        return answer


def read_answer(content: Any, seconds: float) -> Answer:
    """Return a chat completion as an `Answer`; a server need not count tokens, and may give its text in parts."""
    usage = content.get("usage") or {}
    said = content["choices"][0]["message"]["content"] or ""
    if not isinstance(said, str):  # of a model that thinks first: what it thought, then the answer
        said = "".join(part["text"] for part in said if part["type"] == "text")
    return Answer(
        said, int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0), seconds,
    )  # fmt: skip
