"""`finbert2 pretrain evaluate`: corpus + checkpoint → held-out loss, pseudo-perplexity, masked accuracy."""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, files, runtime, vocabulary
from finbert2.errors import UserError
from finbert2.pretrain import checkpoint
from finbert2.pretrain.options import check_window

if TYPE_CHECKING:
    import numpy as np

    from finbert2.pretrain.data import Windows
    from finbert2.pretrain.packing import PackedRows

EVALUATION_SEED = 20250806  # always the same masks, so that losses of different runs can be compared
EVALUATION_RATIO = 0.15
ROW_LENGTH = 512  # masks are drawn by the row


@dataclass
class EvaluationArguments:
    """Which checkpoint, on which text."""

    model_name_or_path: str = args.option("checkpoint, folder or Hub name")
    valid_data: list[str] = args.option("files or folders of held-out text")
    output_dir: str = args.option("folder for results.json")
    text_field: str = args.option("field that holds the text", default="text")
    source_field: str = args.option("field that says where a text is from", default="source")
    max_seq_length: int = args.option("longest window in tokens", default=512)
    batch_rows: int = args.option("packed rows a forward pass", default=16)
    cache_dir: str | None = args.option("where tokenised text is kept (default: in output_dir)", default=None)
    seed: int = args.option("recorded in results.json; the masks are always the same", default=0)

    def __post_init__(self) -> None:
        """Refuse a window that no text fits into."""
        check_window(self.max_seq_length)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Measure a checkpoint on held-out text."""
    (options,) = args.parse("pretrain evaluate", __doc__ or "", argv, EvaluationArguments)
    args.spare_run(options.output_dir)
    started = time.perf_counter()
    from finbert2.pretrain.data import fingerprint, load_windows

    tokenizer = checkpoint.load_tokenizer(options.model_name_or_path)
    checkpoint.load_config(options.model_name_or_path, tokenizer, options.max_seq_length)
    model = load_model(options.model_name_or_path).to(runtime.device())
    cache = Path(options.cache_dir or Path(options.output_dir) / "tokens")
    windows = load_windows(
        options.valid_data, options.text_field, tokenizer, options.max_seq_length, cache, "valid", options.source_field
    )
    results = evaluate(model, held_out_rows(windows, tokenizer), tokenizer, options.batch_rows)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    results["data"] = fingerprint(options.valid_data, cache)
    files.write_json(
        Path(options.output_dir) / "results.json",
        results | runtime.circumstances(options.seed, time.perf_counter() - started),
    )


def load_model(name: str, **options: Any) -> Any:
    """Return a checkpoint as this package's `BertForMaskedLM`; refuse one whose predictions would be random."""
    from finbert2.pretrain.model import BertForMaskedLM

    model, has_head = checkpoint.load_model(BertForMaskedLM, name, **options)
    if not has_head:
        raise UserError(
            f"{name} has no masked-language-model head, so it predicts nothing: "
            "name a checkpoint that `pretrain run` or BertForMaskedLM wrote"
        )
    return model


def held_out_rows(windows: "Windows", tokenizer: Any) -> "PackedRows":
    """Return held-out windows as packed rows, always in the same way, whatever the rows that are trained on."""
    from finbert2.pretrain.packing import PackedRows

    return PackedRows(windows, max(ROW_LENGTH, windows.longest), tokenizer.pad_token_id, EVALUATION_SEED)


@runtime.inference()
def evaluate(model: Any, rows: "PackedRows", tokenizer: Any, batch_rows: int = 16) -> dict[str, Any]:
    """Return loss per token and per character, pseudo-perplexity and top-1 accuracy at fixed whole-word masks.

    The loss per character is the loss per token times tokens per character: only it can be compared between
    tokenizers. Pseudo-perplexity is exp of the loss per token, at one draw of the masks. `by_source` holds loss per
    token and accuracy by where the texts are from, if their rows say so.
    """
    import numpy as np
    from torch.utils.data import DataLoader

    from finbert2.pretrain.collator import Collator
    from finbert2.pretrain.masking import Masker
    from finbert2.pretrain.packing import EpochSampler, Schedule

    specials = tuple(tokenizer.all_special_ids)
    collator: Any = Collator(Masker(tokenizer.mask_token_id, specials, vocabulary.size(tokenizer), EVALUATION_SEED))
    sampler = EpochSampler(len(rows), EVALUATION_SEED, Schedule(((0.0, EVALUATION_RATIO),), len(rows)))
    training = model.training
    model.eval()
    names = rows.windows.source_names
    table = np.zeros((len(names) + 1, 3))  # loss, hits, predictions of each source, of no source at the end
    for batch in DataLoader(rows, batch_size=batch_rows, sampler=sampler, collate_fn=collator):
        loss, hit, known = predictions(model, batch)
        places = batch["kept_places"][batch["masked_places"]].numpy()[known]
        sources = batch["origin"].sources[batch["segments"].numbers()[places]]
        for column, values in enumerate((loss[known], hit[known], np.ones(int(known.sum())))):
            np.add.at(table[:, column], sources, values)
    model.train(training)
    loss_sum, hits, count = table.sum(0)
    per_token = float(loss_sum / max(1.0, count))
    density = rows.windows.tokens / rows.windows.characters
    return {
        "loss_per_token": per_token,
        "loss_per_char": per_token * density,
        "pseudo_perplexity": math.exp(min(per_token, 100.0)),
        "masked_accuracy": float(hits / max(1.0, count)),
        "tokens_per_char": density,
        "predictions": float(count),
    } | ({"by_source": by_source(table, names)} if names else {})


def predictions(model: Any, batch: dict[str, Any]) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Return loss, whether the first guess was right, and which slots are used (predictions,) of a batch."""
    from torch.nn.functional import cross_entropy

    from finbert2.pretrain.masking import IGNORED

    names = ("input_ids", "position_ids", "kept_places", "masked_places", "labels")
    ids, positions, kept, masked, labels = (batch[name].to(model.device) for name in names)
    logits = model.cls(model.encode(ids, positions, batch["segments"], kept, batch["kept_segments"])[masked]).float()
    loss = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    hit = logits.argmax(-1) == labels
    return loss.double().cpu().numpy(), hit.cpu().numpy(), (labels != IGNORED).cpu().numpy()


def by_source(table: "np.ndarray", names: list[str]) -> dict[str, dict[str, float]]:
    """Return the measures of each source that has predictions, the largest first, 50 at most."""
    order = sorted(range(len(names)), key=lambda number: -table[number, 2])[:50]
    return {
        names[number]: {
            "loss_per_token": table[number, 0] / table[number, 2],
            "masked_accuracy": table[number, 1] / table[number, 2],
            "predictions": table[number, 2],
        }
        for number in order
        if table[number, 2]
    }


if __name__ == "__main__":
    main()
