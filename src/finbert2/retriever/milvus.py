"""A Milvus collection of passages: a file by Milvus Lite, or a server, through the same client."""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2.errors import UserError
from finbert2.retriever.bm25 import K1, B, bigrams

if TYPE_CHECKING:
    from pymilvus import MilvusClient

METADATA = ("title", "date", "company", "institution", "industry")
SHOWN = ["document", "text", *METADATA]
MAX_BYTES = 65535  # of a text field of Milvus
MAX_ID = 500  # bytes of a document's id; the field holds 512, a window's number among them
MAX_CHARACTERS = 7000  # nine bytes a character in the field of BM25's tokens
MAX_HITS, MAX_MESSAGE = 16_384, 2**26  # of a search; bytes that a server takes at a time
RRF = 60


def is_file(uri: str) -> bool:
    """Tell a Milvus Lite file from a server."""
    return "://" not in uri


def connect(uri: str, must_exist: bool) -> "MilvusClient":
    """Open a Milvus Lite file or a server; `MILVUS_TOKEN` in the environment is the server's token."""
    from pymilvus import MilvusClient, MilvusException

    for name in ("pymilvus", "milvus_lite", "grpc"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log a traceback before they raise
    if is_file(uri):
        check_local(Path(uri), must_exist)
    try:
        return MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=10)
    except MilvusException as error:
        what = (
            "does another process use it?"
            if is_file(uri)
            else "is the server up, and is MILVUS_TOKEN set if it asks for one?"
        )
        raise UserError(f"Milvus at {uri} does not open ({error.message}): {what}") from None


def check_local(path: Path, must_exist: bool) -> None:
    """Raise `UserError` for a file name that Milvus Lite cannot take, or that is not there."""
    if path.suffix != ".db":
        raise UserError(f"--uri {path}: name a file that ends in .db (Milvus Lite), or a server as http://host:19530")
    if must_exist and not path.exists():
        raise UserError(f"--uri {path} does not exist: make it by `finbert2 retriever index`, or check the path")
    path.parent.mkdir(parents=True, exist_ok=True)


def model_of(client: "MilvusClient", collection: str) -> dict[str, Any]:
    """Return what a collection remembers of its model: name, fingerprint, width."""
    if not client.has_collection(collection):
        others = ", ".join(client.list_collections()) or "none"
        raise UserError(f"there is no collection '{collection}'; there are: {others}. Choose one by --collection")
    described = client.describe_collection(collection)
    note = described.get("properties", {}).get("finbert2") or described.get("description")  # Lite keeps no description
    try:
        return dict(json.loads(note))
    except (TypeError, ValueError):
        raise UserError(
            f"the collection '{collection}' was not made by `finbert2 retriever index`: choose another --collection"
        ) from None


def check_model(model: dict[str, Any], name: str, fingerprint: str, collection: str) -> None:
    """Raise `UserError` if a model is not the one whose vectors a collection holds."""
    if model["fingerprint"] != fingerprint:
        raise UserError(
            f"the collection '{collection}' holds vectors of {model['name']} (weights {model['fingerprint']}), not of "
            f"{name} (weights {fingerprint}): name that model by --model_name_or_path, or index into another collection"
        )


def check_layout(model: dict[str, Any], layout: dict[str, Any], collection: str) -> None:
    """Raise `UserError` if passages would be cut or rendered otherwise than those a collection holds."""
    for name, value in layout.items():
        if model.get(name) != value:
            raise UserError(
                f"the collection '{collection}' was made with --{name} {model.get(name)!r}, not {value!r}: "
                "give the same, or index into another collection"
            )


def delete(client: "MilvusClient", collection: str, documents: list[str]) -> int:
    """Take documents out, all their windows, also of unfinished ones; return how many of them were there."""
    client.load_collection(collection)
    where = f"document in {json.dumps(documents, ensure_ascii=False)}"
    present = {hit["document"] for hit in client.query(collection, filter=where, output_fields=["document"])}
    if present:
        client.delete(collection, filter=where)
        client.flush(collection)
    return len(present)


def upsert(client: "MilvusClient", collection: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write windows, their vectors in fp32, in as few messages as a server takes."""
    message: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        size = sum(4 * len(value) for value in row.values())  # a character has up to four bytes, as a number has
        if message and held + size > MAX_MESSAGE // 2:
            client.upsert(collection, message)
            message, held = [], 0
        message.append(row)
        held += size
    if message:
        client.upsert(collection, message)


def create(client: "MilvusClient", collection: str, model: dict[str, Any], exact: bool) -> None:
    """Create a collection of passages with a vector of the model's width and BM25 over character bigrams.

    `exact` compares a query with every vector. A graph, which a server does well, is walked by Milvus Lite past most of
    what a filter or a deletion leaves.
    """
    from pymilvus import DataType, Function, FunctionType

    note = json.dumps(model, ensure_ascii=False)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=note)
    schema.add_field("id", DataType.VARCHAR, max_length=512, is_primary=True)
    schema.add_field("document", DataType.VARCHAR, max_length=512)
    for name in ("text", *METADATA, "digest"):
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_BYTES)
    schema.add_field(
        "tokens", DataType.VARCHAR, max_length=MAX_BYTES, enable_analyzer=True,
        analyzer_params={"tokenizer": "standard"},
    )  # fmt: skip
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=model["width"])
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function("bm25", FunctionType.BM25, input_field_names=["tokens"], output_field_names=["sparse"])
    )
    indexes = client.prepare_index_params()
    # Every encoder here gives unit vectors; by COSINE Milvus Lite works out all their lengths anew for each query.
    indexes.add_index("dense", index_type="FLAT" if exact else "AUTOINDEX", metric_type="IP")
    indexes.add_index(
        "sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params={"bm25_k1": K1, "bm25_b": B}
    )
    client.create_collection(collection, schema=schema, index_params=indexes, properties={"finbert2": note})


def tokens(text: str) -> str:
    """Return a text's bigrams as ASCII words, four or more hexadecimal digits a character.

    The only analyser that Milvus Lite and Milvus servers share and that needs no further package is "standard"; it
    tears Chinese apart, each in its own way, but leaves such words whole. So both rank as `retriever evaluate` does,
    Milvus Lite what was written in one run: it counts each part of its file by itself.
    """
    return " ".join("".join(f"{ord(character):04x}" for character in token) for token in bigrams(text))


def search(
    client: "MilvusClient", collection: str, mode: str, vectors: Iterable[Any], queries: list[str], k: int, where: str
) -> list[list[dict[str, Any]]]:
    """Return each query's best documents as records with `score` and the `text` of the best window.

    Windows of one document take places among the hits: where that leaves fewer than `k`, more hits are asked for, until
    there are no more.
    """
    depth = 2 * k
    while True:
        windows = windows_of(client, collection, mode, vectors, queries, depth, where)
        found = [fold(hits)[:k] for hits in windows]
        all_there = all(len(best) == k or len(hits) < depth for best, hits in zip(found, windows, strict=True))
        if all_there or depth == MAX_HITS:
            return found
        depth = min(8 * depth, MAX_HITS)


def fold(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best hit of each document under the document's id, best first."""
    best: dict[str, dict[str, Any]] = {}
    for hit in hits:
        document = hit.pop("document")
        best.setdefault(document, {**hit, "id": document})
    return list(best.values())


def windows_of(
    client: "MilvusClient", collection: str, mode: str, vectors: Iterable[Any], queries: list[str], k: int, where: str
) -> list[list[dict[str, Any]]]:
    """Return each query's best windows."""
    from pymilvus import AnnSearchRequest, MilvusException, RRFRanker

    inputs = {"dense": list(vectors), "sparse": [tokens(query) for query in queries]}
    options = {"limit": k, "output_fields": SHOWN}
    try:
        client.load_collection(collection)
        if mode == "hybrid":
            requests = [AnnSearchRequest(data, field, {}, max(k, 100), expr=where) for field, data in inputs.items()]
            found = client.hybrid_search(collection, requests, RRFRanker(RRF), **options)
        else:
            field = "dense" if mode == "dense" else "sparse"
            found = client.search(collection, inputs[field], anns_field=field, filter=where, **options)
    except MilvusException as error:
        hint = f"; the filter is {where!r}, over {', '.join(METADATA)}" if where else ""
        raise UserError(f"Milvus refused the search: {error.message}{hint}") from None
    score = abs if mode == "bm25" else float  # Milvus Lite gives BM25 scores their sign turned round
    return [[{**hit["entity"], "id": hit["id"], "score": score(hit["distance"])} for hit in hits] for hits in found]
