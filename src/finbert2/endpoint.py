"""Requests to an OpenAI-compatible server, tried again where the failure may pass."""

import http.client
import json
import logging
import os
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

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
