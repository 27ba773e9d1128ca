"""`finbert2 pretrain evaluate`: corpus + checkpoint → held-out loss, pseudo-perplexity, masked accuracy."""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finbert2 import args, encoder, files, runtime
from finbert2.errors import UserError

EVALUATION_SEED = 20250806  # always the same masks, so that losses of different runs can be compared
EVALUATION_RATIO = 0.15


@dataclass
class EvaluationArguments:
    """Which checkpoint, on which text."""

    model_name_or_path: str = args.option("checkpoint, folder or Hub name")
    valid_data: list[str] = args.option("files or folders of held-out text")
    output_dir: str = args.option("folder for results.json")
    text_field: str = args.option("field that holds the text", default="text")
    max_seq_length: int = args.option("longest window in tokens", default=512)
    batch_rows: int = args.option("packed rows a forward pass", default=16)
    cache_dir: str | None = args.option("where tokenised text is kept (default: in output_dir)", default=None)
    seed: int = args.option("recorded in results.json; the masks are always the same", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Measure a checkpoint on held-out text."""
    (options,) = args.parse("pretrain evaluate", __doc__ or "", argv, EvaluationArguments)
    started = time.perf_counter()
    from transformers import AutoTokenizer

    from finbert2.pretrain.data import corpus_files, load_windows

    tokenizer = encoder.load(AutoTokenizer.from_pretrained, options.model_name_or_path)
    model = load_model(options.model_name_or_path).to(runtime.device())
    check_vocabulary(tokenizer, model.config.vocab_size, options.model_name_or_path)
    cache = Path(options.cache_dir or Path(options.output_dir) / "tokens")
    windows = load_windows(options.valid_data, options.text_field, tokenizer, options.max_seq_length, cache, "valid")
    results: dict[str, Any] = evaluate(model, windows, tokenizer, options.batch_rows)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    results["data"] = files.fingerprint(corpus_files(options.valid_data))
    files.write_json(
        Path(options.output_dir) / "results.json",
        results | runtime.circumstances(options.seed, time.perf_counter() - started),
    )


def load_model(name: str, **options: Any) -> Any:
    """Return a checkpoint as this package's `BertForMaskedLM` on packed attention, in fp32."""
    import torch

    from finbert2 import attention
    from finbert2.pretrain.model import BertForMaskedLM

    return encoder.load(
        BertForMaskedLM.from_pretrained, name, attn_implementation=attention.register(), dtype=torch.float32, **options
    )


def check_vocabulary(tokenizer: Any, vocabulary: int, name: str) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for."""
    if len(tokenizer) > vocabulary:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {name} has embeddings for {vocabulary}: "
            "they do not belong together; grow the model with `tokenizer train --base_model`, or name its own tokenizer"
        )


def evaluate(model: Any, windows: Any, tokenizer: Any, batch_rows: int = 16, row_length: int = 512) -> dict[str, float]:
    """Return loss per token and per character, pseudo-perplexity and top-1 accuracy at fixed whole-word masks.

    The loss per character is the loss per token times tokens per character: only it can be compared between
    tokenizers. Pseudo-perplexity is exp of the loss per token, at one draw of the masks.
    """
    import torch
    from torch.utils.data import DataLoader

    from finbert2.pretrain.data import EpochSampler, PackedRows
    from finbert2.pretrain.masking import IGNORED, Collator, Masker

    special = tuple(tokenizer.all_special_ids)
    masker = Masker(tokenizer.mask_token_id, special, len(tokenizer), EVALUATION_RATIO, EVALUATION_SEED)
    row_length = max(row_length, int(windows.lengths.max()))
    rows = PackedRows(windows, row_length, tokenizer.pad_token_id, EVALUATION_SEED)
    sampler = EpochSampler(len(rows), EVALUATION_SEED)
    training = model.training
    model.eval()
    loss = hits = count = 0.0
    for batch in DataLoader(rows, batch_size=batch_rows, sampler=sampler, collate_fn=Collator(masker)):
        batch = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        with torch.no_grad(), runtime.autocast():
            output = model(**batch, num_items_in_batch=1)
        known = batch["labels"] != IGNORED
        loss += float(output.loss)
        hits += float((output.logits.argmax(-1) == batch["labels"])[known].sum())
        count += float(known.sum())
    model.train(training)
    per_token = loss / max(1.0, count)
    density = windows.tokens / windows.characters
    return {
        "loss_per_token": per_token,
        "loss_per_char": per_token * density,
        "pseudo_perplexity": math.exp(min(per_token, 100.0)),
        "masked_accuracy": hits / max(1.0, count),
        "tokens_per_char": density,
        "predictions": count,
    }


if __name__ == "__main__":
    main()
