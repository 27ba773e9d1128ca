"""RetroMAE's visible sets, and attention under them, segment by segment instead of over whole rows."""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from finbert2.pretrain.attention import Segments

NAME = "visible_sets"
BUCKET = 64  # segments of like length, rounded up to a multiple of this, are attended to together

Block = dict[str, torch.Tensor]


def make_blocks(segments: Segments, places: np.ndarray) -> list[Block]:
    """Group segments by length; `places` (targets,), sorted, are the tokens that the decoder predicts.

    Of each block, n segments: `segments` (n,), `columns` (n, length) the places of its tokens and `real` which of these
    exist, `queries` (n, most) the numbers of its targets and `asked` which of these exist. What does not exist
    repeats the first one.
    """
    counts = np.bincount(segments.numbers()[places], minlength=len(segments.lengths))
    first_queries = np.cumsum(counts) - counts
    buckets = np.where(counts > 0, -(-segments.lengths // BUCKET), 0)
    blocks = []
    for bucket in np.unique(buckets[buckets > 0]):
        chosen = np.flatnonzero(buckets == bucket)
        columns = np.arange(segments.lengths[chosen].max())
        rows = np.arange(counts[chosen].max())
        real, asked = columns < segments.lengths[chosen, None], rows < counts[chosen, None]
        block = {
            "segments": chosen, "real": real, "asked": asked,
            "columns": segments.firsts[chosen, None] + np.where(real, columns, 0),
            "queries": first_queries[chosen, None] + np.where(asked, rows, 0),
        }  # fmt: skip
        blocks.append({name: torch.from_numpy(array) for name, array in block.items()})
    return blocks


def visible_set(
    block: Block, places: torch.Tensor, word_ids: torch.Tensor, special: torch.Tensor, draws: torch.Tensor,
    ratio: float, whole_words: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Return which columns each query sees (n, queries, columns): Eq. 7, a set of its own for every query.

    Inside its own segment a query sees [CLS] and [SEP] always, itself never (with `whole_words`: nothing of its own
    word), and each other word with probability 1 − ratio. `places` (targets,) are the queries' tokens, `word_ids` and
    `special` (tokens,), `draws` (segments,) the seeds.
    """
    columns, queries = block["columns"], places[block["queries"]]  # (n, columns), (n, queries): places of tokens
    words = word_ids[columns] - word_ids[columns[:, :1]]  # counted from the segment's [CLS]
    kept = uniform16(draws[block["segments"]], queries - columns[:, :1], columns.shape[1]) >= threshold16(ratio)
    seen = kept.gather(2, words.unsqueeze(1).expand(-1, queries.shape[1], -1))
    seen |= special[columns].unsqueeze(1)
    if whole_words:
        seen &= (word_ids[columns].unsqueeze(1) != word_ids[queries].unsqueeze(2)) | special[columns].unsqueeze(1)
    else:
        seen &= columns.unsqueeze(1) != queries.unsqueeze(2)
    return seen & block["real"].unsqueeze(1)


def uniform16(draws: torch.Tensor, rows: torch.Tensor, words: int) -> torch.Tensor:
    """Return random int16 for (segment, query, word) (n, queries, words or a few more), a hash of their counters.

    `draws` (n,) seed them, `rows` (n, queries) number the queries. Words, not tokens, are drawn: all tokens of a word
    are seen together or not at all. One 64-bit hash serves four words. Nothing is stored and nothing but `draws` comes
    from outside, so a resumed run draws the same sets on any device.
    """
    groups = torch.arange(1, -(-words // 4) + 1, device=rows.device)
    x = (draws.unsqueeze(1) + (rows + 1) * -7046029254386353131).unsqueeze(2) + groups * 6364136223846793005
    for shift, factor in ((29, -4658895280553007687), (32, -7723592293110705685)):
        # The mask makes the shift of signed numbers logical.
        x = x.bitwise_xor_((x >> shift).bitwise_and_(2 ** (64 - shift) - 1)).mul_(factor)
    return x.bitwise_xor_((x >> 32).bitwise_and_(2**32 - 1)).view(torch.int16)


def threshold16(ratio: float) -> int:
    """Return the number that a share `ratio` of random int16 lie below."""
    return min(round(ratio * 2**16) - 2**15, 2**15 - 1)


@torch.compiler.disable
def block_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    blocks: list[Block],
    visible: list[torch.Tensor],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output (1, targets, heads, width) of queries that each see a set of their own.

    `query` is (1, heads, targets, width), `key` and `value` (1, heads, tokens, width).
    """
    output = torch.zeros_like(query[0].transpose(0, 1))  # (targets, heads, width)
    for block, seen in zip(blocks, visible, strict=True):
        q, k, v = (
            states[0][:, block[places]].transpose(0, 1)  # (n, heads, tokens, width)
            for states, places in ((query, "queries"), (key, "columns"), (value, "columns"))
        )
        mask = torch.where(seen.unsqueeze(1), 0.0, float("-inf")).to(q.dtype)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
        asked = block["asked"]
        output = output.index_put((block["queries"][asked],), attended.transpose(1, 2)[asked])
    return output.unsqueeze(0), None


def register() -> str:
    """Make the backend known to transformers and return its name for `attn_implementation`."""
    AttentionInterface.register(NAME, block_attention)
    return NAME
