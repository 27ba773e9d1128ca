"""Write a model folder's ONNX files, fp32 and int8, without optimum."""

import dataclasses
import logging
import time
from pathlib import Path

from finbert2 import args, files, runtime

log = logging.getLogger(__name__)


@dataclasses.dataclass
class ExportArguments:
    """What is exported."""

    model_name_or_path: str = args.option("model folder; the files go into its onnx/")
    int8: bool = args.option("write the int8 file too", default=True)
    seed: int = args.option("seed of the process, kept in the results", default=42)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Export, measure how far the files' vectors are from the folder's, write that down."""
    from finbert2.retriever import check, onnx_export

    (options,) = args.parse("retriever export", __doc__ or "", argv, ExportArguments)
    start = time.monotonic()
    runtime.set_seed(options.seed)
    folder = Path(options.model_name_or_path)
    written = onnx_export.export(folder, options.int8)
    own = check.own_vectors(folder)
    found = {path.name: check.least_cosine(check.by_onnx(path, folder), own) for path in written}
    for name, cosine in found.items():
        log.info("%s: cosine to the folder's own vectors %.5f or more", name, cosine)
    results = {"least_cosine": found, **runtime.circumstances(options.seed, time.monotonic() - start)}
    files.write_json(folder / "onnx" / "results.json", results)


if __name__ == "__main__":
    main()
