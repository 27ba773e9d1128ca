"""A checkpoint and the tokenizer it is used with: what is no BERT, not whole or not of one piece is refused."""

from typing import Any

from finbert2 import encoder, vocabulary
from finbert2.errors import UserError

HEAD, OWN = "cls.", ("cls.", "enhanced_decoder.")  # what may be new: the head where it is said, RetroMAE's decoder
SPECIALS = ("cls_token", "sep_token", "mask_token", "pad_token")


def load_tokenizer(name: str) -> Any:
    """Return a tokenizer; refuse one without the special tokens that BERT's inputs are made of."""
    from transformers import AutoTokenizer

    tokenizer = encoder.load(AutoTokenizer.from_pretrained, name)
    missing = [token for token in SPECIALS if getattr(tokenizer, token) is None]
    if missing:
        raise UserError(f"the tokenizer {name} has no {', '.join(missing)}: a BERT tokenizer was expected")
    return tokenizer


def load_config(name: str, tokenizer: Any, max_seq_length: int) -> Any:
    """Return a checkpoint's config; refuse what is no BERT, or a BERT that tokenizer or length do not fit."""
    from transformers import AutoConfig

    config: Any = encoder.load(AutoConfig.from_pretrained, name)
    if config.model_type != "bert" or config.is_decoder:
        kind = "decoder of BERT's kind" if config.model_type == "bert" else f"{config.model_type!r} model"
        raise UserError(f"{name} is a {kind}: a BERT checkpoint was expected")
    vocabulary.check_size(tokenizer, config, name, masked=True)
    if max_seq_length > config.max_position_embeddings:
        raise UserError(
            f"--max_seq_length {max_seq_length} is more than the {config.max_position_embeddings} positions of "
            f"{name}: longer texts make several windows, so that nothing is lost by a smaller one"
        )
    return config


def check_same_ids(tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that gives the checkpoint's own tokens other ids; more tokens at the end are welcome."""
    given = tokenizer.get_vocab()
    moved = vocabulary.first_moved(vocabulary.of_checkpoint(name), given)
    if moved:
        number, token = moved
        raise UserError(
            f"the tokenizer gives {token!r} the id {given.get(token)}, {name} has its embedding at {number}: they do "
            "not belong together; use the checkpoint's own tokenizer, or one grown from it"
        )


def load_model(kind: Any, name: str, **options: Any) -> tuple[Any, bool]:
    """Return a checkpoint as a `kind` on packed attention, in fp32, and whether it came with an MLM head.

    Raises `UserError` if its weights do not fit its config, or weights of the encoder are not in it.
    """
    import torch

    from finbert2 import attention

    model, report = encoder.load(
        kind.from_pretrained, name, attn_implementation=attention.register(), dtype=torch.float32,
        output_loading_info=True, **options,
    )  # fmt: skip
    missing = sorted(report["missing_keys"])
    lost = [weight for weight in missing if not weight.startswith(OWN)]
    if lost:
        raise UserError(
            f"{name} lacks {len(lost)} weights of a BERT encoder, such as {lost[0]}: they would be random; name a "
            "folder that save_pretrained wrote whole"
        )
    return model, not any(weight.startswith(HEAD) for weight in missing)
