"""Index passages in Milvus: vectors, BM25 and metadata, in a file or on a server."""

import dataclasses
import hashlib
import json
import logging
import re
import time
from array import array
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, encoder, files, runtime, weights
from finbert2.errors import UserError
from finbert2.files import Row
from finbert2.retriever import milvus, windows
from finbert2.retriever.data import (
    TEMPLATE,
    TEMPLATE_HELP,
    body,
    checked_template,
    field_text,
    passage_text,
)

if TYPE_CHECKING:
    from pymilvus import MilvusClient

log = logging.getLogger(__name__)
OF_WINDOW = re.compile(r"(.*)#[1-9][0-9]*", re.DOTALL)  # the id of a document's further window, see `windowed`
SHORT_DATE = re.compile(r"\s*\d{4}\D(?:\d|\d\d\D\d)(?!\d)")  # 2024/3/5: as text it stands after 2024/10/5


@dataclasses.dataclass
class IndexArguments:
    """Which passages go where."""

    uri: str = args.option("Milvus Lite file that ends in .db, or a server as http://host:19530")
    corpus: str | None = args.option(
        "passages (.jsonl, .csv, .parquet): text, if there id, title, date, company, institution, industry",
        default=None,
    )
    delete: list[str] = args.option("ids of documents that are taken out", factory=list)
    model_name_or_path: str = args.option("encoder", default="valuesimplex-ai-lab/Fin-Retriever-base")
    collection: str = args.option("name of the collection", default="passages")
    passage_template: str = args.option(TEMPLATE_HELP, default=TEMPLATE)
    window: int = args.option("characters of a document's windows, each a vector; 0: only its beginning", default=500)
    stride: int = args.option("characters from one window to the next", default=450)
    batch_size: int = args.option("texts a forward pass", default=64)
    write_size: int = args.option("passages encoded and written at a time", default=1024)
    seed: int = args.option("seed of the process, kept in the results", default=42)

    def __post_init__(self) -> None:
        """Refuse windows that leave gaps, and a command without work."""
        self.passage_template = checked_template(self.passage_template)
        windows.check(self.window, self.stride)
        if self.window > milvus.MAX_CHARACTERS:
            raise ValueError(f"--window {self.window}: the collection's texts hold {milvus.MAX_CHARACTERS} characters")
        if not self.corpus and not self.delete:
            raise ValueError("--corpus FILE or --delete ID is needed: there is nothing to do")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Open or create the collection, encode and write what is new or changed."""
    (options,) = args.parse("retriever index", __doc__ or "", argv, IndexArguments)
    start = time.monotonic()
    runtime.set_seed(options.seed)
    counts: dict[str, int] = {}
    if options.delete:
        client = milvus.connect(options.uri, must_exist=True)
        milvus.model_of(client, options.collection)
        counts["deleted"] = milvus.delete(client, options.collection, options.delete)
        client.close()
    if options.corpus:
        counts |= index(options, options.corpus)
    results = {
        "collection": options.collection,
        **counts,
        "data": files.fingerprint([options.corpus] if options.corpus else []),
        **runtime.circumstances(options.seed, time.monotonic() - start),
    }
    if milvus.is_file(options.uri):
        files.write_json(f"{options.uri}.results.json", results)
    log.info("%s", json.dumps({"uri": options.uri, "collection": options.collection, **counts}, ensure_ascii=False))


def index(options: IndexArguments, corpus: str) -> dict[str, int]:
    """Write the passages of a file into the collection; return what became of them."""
    check_ids(corpus, options.window)
    rows = records(corpus, options.passage_template)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{corpus} holds no passages: each row has to have 'text'")
    client = milvus.connect(options.uri, must_exist=False)
    counts = write(client, options, chain([first], rows))
    client.close()
    return counts


def write(client: "MilvusClient", options: IndexArguments, rows: Iterator[dict[str, str]]) -> dict[str, int]:
    """Write the documents in parts; return how many were written, in how many windows, unchanged and shortened."""
    model = encoder.SentenceEncoder(options.model_name_or_path, batch_size=options.batch_size)
    open_collection(client, options, model.width)
    client.load_collection(options.collection)
    counts = {"written": 0, "windows": 0, "unchanged": 0, "shortened": 0}
    while part := list(islice(rows, options.write_size)):
        part = list({row["id"]: row for row in part}.values())
        split = {row["id"]: windowed(row, options) for row in part}
        present = stored_windows(client, options.collection, split, options.write_size)
        check_owners(present, split)
        new = [row for row in part if row["id"] not in present or present[row["id"]]["digest"] != row["digest"]]
        begun = [row["id"] for row in new if row["id"] in present or window_id(row["id"], 1) in present]
        if begun:
            milvus.delete(client, options.collection, begun)  # the new text may have fewer windows
        parts = [window for row in new for window in split[row["id"]]]
        texts = [passage_text(window, options.passage_template) for window in parts]
        for start in range(0, len(parts), options.write_size):
            some = slice(start, start + options.write_size)
            vectors = model.encode(texts[some])
            data = [
                {**stored(window, text), "dense": vector}
                for window, text, vector in zip(parts[some], texts[some], vectors, strict=True)
            ]
            milvus.upsert(client, options.collection, data)
        counts["written"] += len(new)
        counts["windows"] += len(parts)
        counts["unchanged"] += len(part) - len(new)
        counts["shortened"] += sum(len(text) > milvus.MAX_CHARACTERS for text in texts)
        log.info("%d written, %d unchanged", counts["written"], counts["unchanged"])
    client.flush(options.collection)
    client.load_collection(options.collection)
    return counts


def windowed(row: dict[str, str], options: IndexArguments) -> list[dict[str, str]]:
    """Return a document's windows in order, but the first, which has the document's id, last.

    An interrupted run finds a document unfinished until that one is written, and begun by its second window.
    """
    texts = windows.windows(row["text"], options.window, options.stride)
    parts = [
        {**row, "id": window_id(row["id"], number), "document": row["id"], "text": text}
        for number, text in enumerate(texts)
    ]
    return [*parts[1:], parts[0]]


def window_id(document: str, number: int) -> str:
    """Return the id of a document's window; the first has the document's own."""
    return f"{document}#{number}" if number else document


def open_collection(client: "MilvusClient", options: IndexArguments, width: int) -> None:
    """Create the collection, or check that the one there holds this model's vectors."""
    fingerprint = weights.fingerprint(options.model_name_or_path)
    layout = {name: getattr(options, name) for name in ("passage_template", "window", "stride")}
    if client.has_collection(options.collection):
        model = milvus.model_of(client, options.collection)
        milvus.check_model(model, options.model_name_or_path, fingerprint, options.collection)
        milvus.check_layout(model, layout, options.collection)
        return
    path = Path(options.model_name_or_path)
    name = str(path.resolve()) if path.exists() else options.model_name_or_path
    note = {"name": name, "fingerprint": fingerprint, "width": width, **layout}
    milvus.create(client, options.collection, note, exact=milvus.is_file(options.uri))


def records(path: str, template: str) -> Iterator[dict[str, str]]:
    """Yield the passages of a file with id, text, metadata and a digest of all that."""
    for row in files.read_rows(path):
        yield record(row, template)


def check_ids(path: str, window: int) -> None:
    """Raise `UserError` for an id that Milvus cannot hold, and for one that a window of another document would have.

    Before anything is encoded. An id such as `d#1` is welcome as long as there is no document `d`. Of rows with one id
    the last is kept; their number is logged. So is the first date that `--filter` would not put in its place.
    """
    import numpy as np

    windows_of: dict[str, tuple[str, str]] = {}  # what looks like a window's id, and where, by its document
    hashes = array("q")  # of the ids, 8 bytes each
    told = False
    for row in files.read_rows(path):
        if not told and SHORT_DATE.match(date := str(row.values.get("date"))):
            log.warning(
                "%s has the date %s: --filter compares dates as text, write them as 2024-03-05", row.place, date
            )
            told = True
        key = str(given_id(row) or "")
        if key:
            hashes.append(hash(key))
        size = len(key.encode())
        if size > milvus.MAX_ID:
            raise UserError(
                f"{row.place} has an id of {size} bytes ('{key[:20]}…'): Milvus holds {milvus.MAX_ID}; shorten it, or "
                "leave it out: the content's hash is then the id"
            )
        of_window = OF_WINDOW.fullmatch(key) if window else None
        if of_window:
            windows_of.setdefault(of_window[1], (row.place, key))
    repeated = len(hashes) - len(np.unique(np.frombuffer(hashes, dtype=np.int64)))
    if repeated:
        log.warning("%s: %d rows have the id of another row; of such rows the last one is kept", path, repeated)
    for row in files.read_rows(path) if windows_of else ():
        if (found := windows_of.get(str(given_id(row)))) is not None:
            place, key = found
            raise UserError(
                f"{place} has the id '{key}', which a window of '{given_id(row)}' would have: rename it, or index into "
                "another --collection without windows, by --window 0"
            )


def given_id(row: Row) -> Any:
    """Return a passage's id as it is given, None or "" for none."""
    return row.values.get("id", row.values.get("_id"))


def record(row: Row, template: str) -> dict[str, str]:
    """Return one passage; one without id gets the hash of its text and metadata."""
    text = body(row, template, "text", "passage")
    found = {"text": text, **{name: field_text(row.values.get(name)) for name in milvus.METADATA}}
    key = given_id(row)
    digest = hashlib.sha256(json.dumps(found, ensure_ascii=False).encode()).hexdigest()
    return {"id": str(key) if key not in (None, "") else digest[:16], **found, "digest": digest}


def stored(row: dict[str, str], text: str) -> dict[str, str]:
    """Return a window as Milvus takes it: texts cut to what its fields hold, with BM25's tokens of `text`."""
    cut = {name: value[: milvus.MAX_CHARACTERS] for name, value in row.items()}
    return cut | {"tokens": milvus.tokens(text[: milvus.MAX_CHARACTERS])}


def stored_windows(
    client: "MilvusClient", collection: str, split: dict[str, list[dict[str, str]]], at_once: int
) -> dict[str, dict[str, str]]:
    """Return `document` and `digest` of what the collection has under the ids of the documents' windows, by these ids.

    A document's second window is asked for even if it has one now: it may have had more. Asked for by id: a search by
    the field `document` would go through the whole collection. By a filter of our own: pymilvus makes one of `ids` too,
    and does not mask what quotes and backslashes they hold.
    """
    ids = list(dict.fromkeys(chain(
        (window_id(document, 1) for document in split), (window["id"] for parts in split.values() for window in parts)
    )))  # fmt: skip
    found = {}
    for start in range(0, len(ids), at_once):
        where = f"id in {json.dumps(ids[start : start + at_once], ensure_ascii=False)}"
        for hit in client.query(collection, filter=where, output_fields=["document", "digest"]):
            found[hit["id"]] = {name: hit[name] for name in ("document", "digest")}
    return found


def check_owners(present: dict[str, dict[str, str]], split: dict[str, list[dict[str, str]]]) -> None:
    """Raise `UserError` for a window whose id another document of the collection has, which would be written over."""
    for document, parts in split.items():
        for window in parts:
            other = present.get(window["id"], {}).get("document", document)
            if other != document:
                raise UserError(
                    f"'{document}' would be written over '{other}' of the collection: both have the id "
                    f"'{window['id']}', one of them for a window; rename it, or index into another --collection"
                )


if __name__ == "__main__":
    main()
