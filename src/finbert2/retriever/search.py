"""Search a Milvus collection by vectors, BM25 or both."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal

from finbert2 import args, encoder, runtime, weights
from finbert2.errors import UserError
from finbert2.retriever import milvus


@dataclasses.dataclass
class SearchArguments:
    """What is looked for where."""

    query: list[str] = args.option("queries, one or more")
    uri: str = args.option("Milvus Lite file that ends in .db, or a server as http://host:19530")
    collection: str = args.option("name of the collection", default="passages")
    model_name_or_path: str | None = args.option("encoder, if the one that indexed has moved", default=None)
    top_k: int = args.option("passages a query", default=5)
    mode: Literal["dense", "bm25", "hybrid"] = args.option(
        "how passages are found; hybrid: both ways, by reciprocal rank fusion", default="hybrid"
    )
    filter: str = args.option(
        'condition in Milvus\'s terms, such as: industry == "电子" and date >= "2024"', default=""
    )
    json: bool = args.option("print JSON lines instead of a table", default=False)
    seed: int = args.option("seed of the process", default=42)

    def __post_init__(self) -> None:
        """Refuse an empty query, and no passages."""
        most = milvus.MAX_HITS // 2  # a document's windows take places among the hits
        if not 0 < self.top_k <= most:
            raise ValueError(f"--top_k {self.top_k}: it has to be from 1 to {most}")
        if not all(query.strip() for query in self.query):
            raise ValueError("--query is empty: give a text")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Encode the queries by the collection's own model, search, print."""
    (options,) = args.parse("retriever search", __doc__ or "", argv, SearchArguments)
    runtime.set_seed(options.seed)
    client = milvus.connect(options.uri, must_exist=True)
    model = milvus.model_of(client, options.collection)
    vectors: Any = [] if options.mode == "bm25" else query_vectors(options, model)
    found = milvus.search(
        client, options.collection, options.mode, vectors, options.query, options.top_k, options.filter
    )
    client.close()
    show = as_lines if options.json else as_table
    sys.stdout.write("".join(show(query, hits) for query, hits in zip(options.query, found, strict=True)))


def query_vectors(options: SearchArguments, model: dict[str, Any]) -> Any:
    """Return the queries' vectors (queries, width) by the model that indexed; refuse another one."""
    name = options.model_name_or_path or model["name"]
    if not options.model_name_or_path and Path(name).is_absolute() and not Path(name).exists():
        raise UserError(
            f"the collection '{options.collection}' was indexed by the encoder in {name}, which is not there: name the "
            "folder where it lies now by --model_name_or_path, or search by --mode bm25"
        )
    loaded = encoder.SentenceEncoder(name)
    milvus.check_model(model, name, weights.fingerprint(name), options.collection)
    return loaded.encode(options.query, is_query=True)


def as_lines(query: str, hits: list[dict[str, Any]]) -> str:
    """Return hits as JSON lines."""
    records = [{"query": query, "rank": rank, **hit} for rank, hit in enumerate(hits, start=1)]
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_table(query: str, hits: list[dict[str, Any]]) -> str:
    """Return hits as two lines each: score, title and metadata, then the beginning of the text."""
    lines = [f"“{query}”" + ("" if hits else ": nothing found")]
    for rank, hit in enumerate(hits, start=1):
        about = " · ".join(hit[name] for name in milvus.METADATA if hit.get(name))
        text = " ".join(hit["text"].split())
        lines += [
            f"{rank:>3}  {hit['score']:.4f}  {about or hit['id']}",
            f"     {text[:90]}{'…' if len(text) > 90 else ''}",
        ]
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
