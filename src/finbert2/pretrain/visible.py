"""RetroMAE's visible sets, and attention under them, segment by segment instead of over whole rows."""

from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface

from finbert2.attention import Segments, attend

NAME = "visible_sets"
BUCKET = 64  # segments of like length, rounded up to a multiple of this, are attended to together

Block = dict[str, torch.Tensor]


def make_blocks(segments: Segments, places: np.ndarray, word_ids: np.ndarray) -> list[Block]:
    """Group segments by length; `places` (targets,), sorted, are the tokens that the decoder predicts.

    Of each block, n segments: `segments` (n,), `columns` (n, length) the places of its tokens, `words` (n, length) the
    numbers of their words in the segment, `queries` (n, most) the numbers of its targets, `asking` (n, most) their
    columns and `asked` the places in n × most of those that exist. `last_words` (n,) are the numbers of [SEP]. A column
    that does not exist has the word after the last one of the block, whose numbers are `word_numbers`; a target that
    does not exist repeats the first one.
    """
    counts = np.bincount(segments.numbers()[places], minlength=len(segments.lengths))
    first_queries = np.cumsum(counts) - counts
    buckets = np.where(counts > 0, -(-segments.lengths // BUCKET), 0)
    blocks = []
    for bucket in np.unique(buckets[buckets > 0]):
        chosen = np.flatnonzero(buckets == bucket)
        firsts, lengths = segments.firsts[chosen, None], segments.lengths[chosen, None]
        columns, rows = np.arange(lengths.max()), np.arange(counts[chosen].max())
        real, asked = columns < lengths, rows < counts[chosen, None]
        columns = firsts + np.where(real, columns, 0)
        queries = first_queries[chosen, None] + np.where(asked, rows, 0)
        words = word_ids[columns] - word_ids[firsts]
        last = int(words.max())
        block = {
            "segments": chosen, "columns": columns, "words": np.where(real, words, last + 1), "queries": queries,
            "asked": np.flatnonzero(asked), "asking": places[queries] - firsts, "last_words": words.max(axis=1),
            "word_numbers": np.arange(last + 2),
        }  # fmt: skip
        blocks.append({name: torch.from_numpy(array) for name, array in block.items()})
    return blocks


def visible_set(block: Block, draws: torch.Tensor, ratio: float, whole_words: bool = False) -> torch.Tensor:
    """Return which columns each query sees (n, queries, columns): Eq. 7, a set of its own for every query.

    Inside its own segment a query sees [CLS] and [SEP] always, itself never (with `whole_words`: nothing of its own
    word), and each other word with probability 1 − ratio, to the next 256th. `draws` (segments,) are the seeds. Words
    are drawn and then looked up by the columns: their tokens are seen together or not at all.
    """
    words, queries = block["words"], block["asking"]
    batch = torch.arange(len(words), device=words.device).unsqueeze(1)
    drawn = uniform8(draws[block["segments"]], block["word_numbers"], queries.shape[1])
    seen = drawn >= threshold8(ratio)  # (n, words, queries)
    seen[:, 0] = True
    seen[batch[:, 0], block["last_words"]] = True
    seen[:, -1] = False  # what does not exist
    numbers = torch.arange(queries.shape[1], device=words.device)
    if whole_words:
        seen[batch, words.gather(1, queries), numbers] = False
    rows = words + batch * seen.shape[1]
    seen = seen.view(-1, queries.shape[1]).index_select(0, rows.view(-1)).view(*words.shape, -1)
    seen[batch, queries, numbers] = False
    return seen.transpose(1, 2)


def uniform8(draws: torch.Tensor, words: torch.Tensor, queries: int) -> torch.Tensor:
    """Return random int8 for (segment, word, query) (n, words, queries), a hash of their counters.

    `draws` (n,) seed them. One 64-bit hash serves eight queries. Nothing is stored and nothing but `draws` comes from
    outside, so a resumed run draws the same sets on any device.
    """
    groups = torch.arange(-(-queries // 8), device=words.device)
    of_words = mix(draws.unsqueeze(1) + (words + 1) * -7046029254386353131)  # (n, words)
    of_groups = mix(~draws.unsqueeze(1) + (groups + 1) * 6364136223846793005)  # (n, groups)
    x = (of_words.unsqueeze(2) ^ of_groups.unsqueeze(1)).mul_(-4658895280553007687)
    return x.bitwise_xor_((x >> 32).bitwise_and_(2**32 - 1)).view(torch.int8)[:, :, :queries]


def mix(x: torch.Tensor) -> torch.Tensor:
    """Return a 64-bit mixing function, elementwise; the mask makes the shift of signed numbers logical."""
    for shift, factor in ((29, -4658895280553007687), (32, -7723592293110705685)):
        x = (x ^ ((x >> shift) & (2 ** (64 - shift) - 1))) * factor
    return x ^ ((x >> 32) & (2**32 - 1))


def threshold8(ratio: float) -> int:
    """Return the number that a share `ratio` of random int8 lie below."""
    return min(round(ratio * 2**8) - 2**7, 2**7 - 1)


@torch.compiler.disable
def block_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    *,
    blocks: list[Block],
    visible: list[torch.Tensor],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output (1, targets, heads, width) of queries that each see a set of their own.

    `query` is (1, heads, targets, width), `key` and `value` (1, heads, tokens, width).
    """
    parts, numbers = [query[0, :, :0].transpose(0, 1)], [torch.empty(0, dtype=torch.long, device=query.device)]
    for block, seen in zip(blocks, visible, strict=True):
        q, k, v = (
            states[0][:, block[places]].transpose(0, 1)  # (n, heads, tokens, width)
            for states, places in ((query, "queries"), (key, "columns"), (value, "columns"))
        )
        mask = torch.where(seen.unsqueeze(1), 0.0, float("-inf")).contiguous()
        attended = attend(q, k, v, mask, scaling)
        # By number and not by a mask: a mask would have the CPU wait for the GPU to count.
        parts.append(attended.transpose(1, 2).flatten(0, 1).index_select(0, block["asked"]))
        numbers.append(block["queries"].view(-1).index_select(0, block["asked"]))
    found = torch.cat(parts)  # (targets, heads, width)
    return torch.empty_like(found).index_copy(0, torch.cat(numbers), found).unsqueeze(0), None


def register() -> str:
    """Make the backend known to transformers and return its name for `attn_implementation`."""
    AttentionInterface.register(NAME, block_attention)
    return NAME
