"""A Hub that does not answer."""

import logging
import shutil

import pytest
from huggingface_hub import constants
from transformers import AutoTokenizer

from finbert2 import encoder, network
from finbert2.errors import UserError


@pytest.fixture
def cut_off(tmp_path, monkeypatch):
    """The Hub's address is that of a port where nobody listens; the cache is an empty folder."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    network.hub_answers.cache_clear()
    yield tmp_path
    network.hub_answers.cache_clear()


def test_the_cache_is_taken_at_once(tiny_bert, cut_off, caplog):
    """Not after half a minute of requests for each file that the model lacks; the Hub is asked and named once."""
    repository = cut_off / "models--owner--plain"
    shutil.copytree(tiny_bert, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        assert len(encoder.load(AutoTokenizer.from_pretrained, "owner/plain")) > 5
    assert caplog.messages == [
        "http://127.0.0.1:9 does not answer: models are looked for in the cache alone (HF_ENDPOINT names a mirror)"
    ]
    assert not constants.HF_HUB_OFFLINE  # a later upload tries again


def test_what_is_not_in_the_cache_is_refused(cut_off):
    with pytest.raises(UserError, match="^the model 'owner/none' could not be loaded .* check the name and the netw"):
        encoder.load(AutoTokenizer.from_pretrained, "owner/none")


def test_a_folder_needs_no_hub(tiny_bert, cut_off, caplog):
    encoder.load(AutoTokenizer.from_pretrained, tiny_bert)
    assert caplog.messages == []
