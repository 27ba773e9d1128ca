"""Whether the HuggingFace Hub answers, and how it refuses."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
SECONDS = 10.0  # what the Hub's own client waits for an answer


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors of a Hub that refuses, is switched off or is not to be reached.

    The base class is the network library's own error, which changes with the Hub's client.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    return HfHubHTTPError, HfHubHTTPError.__bases__[0], OfflineModeIsEnabled, OSError


@functools.cache
def hub_answers() -> bool:
    """Ask the Hub once a process; one that was switched off (HF_HUB_OFFLINE) is not asked."""
    from huggingface_hub import constants, get_session, is_offline_mode

    if is_offline_mode():
        return True
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except refusals():
        log.warning(
            "%s does not answer: models are looked for in the cache alone (HF_ENDPOINT names a mirror)",
            constants.ENDPOINT,
        )
        return False
    return True


@contextmanager
def cache_alone_if_cut_off() -> Iterator[None]:
    """Without a Hub that answers, have the libraries take the cache at once.

    They would ask for every file that a cached model lacks, six times over half a minute: a tokenizer took 148 seconds.
    """
    from huggingface_hub import constants

    if hub_answers():
        yield
        return
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
