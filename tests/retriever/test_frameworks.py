"""The lines of docs/retriever.md for LangChain and LlamaIndex give the suite's own vectors."""

import re
from pathlib import Path

import numpy as np
import pytest

from finbert2 import encoder, runtime
from finbert2.retriever.options import INSTRUCTION

PAGE = Path(__file__).parents[2] / "docs" / "retriever.md"
QUERY, PASSAGES = "商业银行的需求怎样？", ["商业银行行业需求回升。", "煤炭开采行业价格下跌。"]


@pytest.fixture
def retriever(tiny_encoder, tmp_path, monkeypatch) -> str:
    """A model folder as `retriever train` leaves it."""
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)
    folder = tmp_path / "model"
    model = encoder.load_sentence_transformer(str(tiny_encoder))
    model.prompts["query"] = INSTRUCTION
    model.save(str(folder))
    return str(folder)


@pytest.mark.parametrize(
    ("package", "name", "query", "passages"),
    [
        ("langchain_huggingface", "embeddings", "embed_query", "embed_documents"),
        ("llama_index.embeddings.huggingface", "embed_model", "get_query_embedding", "get_text_embedding_batch"),
    ],
)
def test_a_framework_reads_the_folder(package, name, query, passages, retriever):
    pytest.importorskip(package)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    block = next(code for code in blocks if package in code)
    found: dict = {}
    exec(block.replace("outputs/retriever", retriever), found)  # noqa: S102 - the page's own lines
    ours = encoder.SentenceEncoder(retriever)
    np.testing.assert_allclose(getattr(found[name], query)(QUERY), ours.encode([INSTRUCTION + QUERY])[0], atol=1e-5)
    np.testing.assert_allclose(getattr(found[name], passages)(PASSAGES), ours.encode(PASSAGES), atol=1e-5)
