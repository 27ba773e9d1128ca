"""Index passages in Milvus: vectors, BM25 and metadata, in a file or on a server."""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, encoder, files, runtime
from finbert2.errors import UserError
from finbert2.files import Row
from finbert2.retriever import store
from finbert2.retriever.data import content_id, passage_text

if TYPE_CHECKING:
    from pymilvus import MilvusClient

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Options:
    """Which passages go where."""

    corpus: str = args.option(
        "passages, .jsonl or .csv: text, optional id, title, date, company, institution, industry"
    )
    uri: str = args.option("Milvus Lite file that ends in .db, or a server as http://host:19530")
    model_name_or_path: str = args.option("encoder", default="valuesimplex-ai-lab/Fin-Retriever-base")
    collection: str = args.option("name of the collection", default="passages")
    batch_size: int = args.option("texts a forward pass", default=64)
    write_size: int = args.option("passages encoded and written at a time", default=1024)
    seed: int = args.option("seed of the process, kept in the results", default=42)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Open or create the collection, encode and write what is new or changed."""
    (options,) = args.parse("retriever index", __doc__ or "", argv, Options)
    start = time.monotonic()
    runtime.set_seed(options.seed)
    rows = records(options.corpus)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{options.corpus} holds no passages: each row has to have 'text'")
    client = store.connect(options.uri, must_exist=False)
    counts = write(client, options, prepend(first, rows))
    client.close()
    results = {
        "collection": options.collection,
        **counts,
        "data": files.fingerprint([options.corpus]),
        **runtime.circumstances(options.seed, time.monotonic() - start),
    }
    if "://" not in options.uri:
        files.write_json(f"{options.uri}.results.json", results)
    log.info("%s", json.dumps({"uri": options.uri, "collection": options.collection, **counts}, ensure_ascii=False))


def write(client: "MilvusClient", options: Options, rows: Iterator[dict[str, str]]) -> dict[str, int]:
    """Write the passages in parts; return how many were written, unchanged and shortened."""
    model = encoder.SentenceEncoder(options.model_name_or_path, batch_size=options.batch_size)
    open_collection(client, options, model.width)
    client.load_collection(options.collection)
    counts = {"written": 0, "unchanged": 0, "shortened": 0}
    while part := list(islice(rows, options.write_size)):
        part = list({row["id"]: row for row in part}.values())
        present = digests(client, options.collection, [row["id"] for row in part])
        new = [row for row in part if present.get(row["id"]) != row["digest"]]
        if new:
            vectors = model.encode([passage_text(row["title"], row["text"]) for row in new])
            data = [{**stored(row), "dense": vector} for row, vector in zip(new, vectors, strict=True)]
            client.upsert(options.collection, data)
        counts["written"] += len(new)
        counts["unchanged"] += len(part) - len(new)
        counts["shortened"] += sum(len(passage_text(row["title"], row["text"])) > store.MAX_CHARACTERS for row in new)
        log.info("%d written, %d unchanged", counts["written"], counts["unchanged"])
    client.flush(options.collection)
    client.load_collection(options.collection)
    return counts


def open_collection(client: "MilvusClient", options: Options, width: int) -> None:
    """Create the collection, or check that the one there holds this model's vectors."""
    fingerprint = encoder.fingerprint(options.model_name_or_path)
    if client.has_collection(options.collection):
        model = store.model_of(client, options.collection)
        store.check_model(model, options.model_name_or_path, fingerprint, options.collection)
        return
    path = Path(options.model_name_or_path)
    name = str(path.resolve()) if path.exists() else options.model_name_or_path
    store.create(client, options.collection, {"name": name, "fingerprint": fingerprint, "width": width})


def records(path: str) -> Iterator[dict[str, str]]:
    """Yield the passages of a file with id, text, metadata and a digest of all that."""
    for row in files.read_rows(path):
        yield record(row)


def record(row: Row) -> dict[str, str]:
    """Return one passage; one without id gets its content's hash."""
    text = row.text("text", "passage")
    found = {"text": text, **{name: plain(row.values.get(name)) for name in store.METADATA}}
    key = row.values.get("id", row.values.get("_id"))
    digest = hashlib.sha256(json.dumps(found, ensure_ascii=False).encode()).hexdigest()
    return {"id": str(key) if key not in (None, "") else content_id(found["title"], text), **found, "digest": digest}


def plain(value: Any) -> str:
    """Return a metadata value as text; lists are joined by commas."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def stored(row: dict[str, str]) -> dict[str, str]:
    """Return a record as Milvus takes it: texts cut to what its fields hold, with BM25's tokens."""
    cut = {name: value[: store.MAX_CHARACTERS] for name, value in row.items()}
    return cut | {"tokens": store.tokens(passage_text(row["title"], row["text"])[: store.MAX_CHARACTERS])}


def digests(client: "MilvusClient", collection: str, ids: list[str]) -> dict[str, str]:
    """Return the digests of those ids that the collection has."""
    return {hit["id"]: hit["digest"] for hit in client.query(collection, ids=ids, output_fields=["digest"])}


def prepend(first: dict[str, str], rest: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield a record, then the others."""
    yield first
    yield from rest


if __name__ == "__main__":
    main()
