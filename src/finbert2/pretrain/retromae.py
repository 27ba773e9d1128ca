"""RetroMAE: a one-layer decoder rebuilds the text from its [CLS] vector alone (Xiao et al. 2022, arXiv 2205.12035)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertConfig
from transformers.modeling_outputs import MaskedLMOutput
from transformers.models.bert.modeling_bert import BertAttention, BertIntermediate, BertOutput

from finbert2.pretrain.masking import IGNORED
from finbert2.pretrain.model import BertForMaskedLM, summed_loss

DECODER_PREFIX = "enhanced_decoder."


@dataclass
class RetroMAEOutput(MaskedLMOutput):
    """The loss and its two parts."""

    encoder_loss: torch.Tensor | None = None
    decoder_loss: torch.Tensor | None = None


class EnhancedDecoder(nn.Module):
    """One transformer layer whose queries hold only the sentence and a position (§3.3, two streams)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        # Every row has a mask of its own, so the packed backend cannot serve here.
        config = BertConfig.from_dict(config.to_dict(), attn_implementation="sdpa")
        self.attention = BertAttention(config, is_cross_attention=True)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(self, queries: torch.Tensor, contexts: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return the decoded states (rows, length, width) from H1, H2 (rows, length, width) and Eq. 7's mask.

        `visible` (rows, length, length) is True where row i may look at column j. The residual is the query, so a
        token can reach its own prediction by no way.
        """
        attended = self.attention(queries, encoder_hidden_states=contexts, encoder_attention_mask=visible.unsqueeze(1))[
            0
        ]
        return self.output(self.intermediate(attended), attended)


class RetroMAE(BertForMaskedLM):
    """BERT with the enhanced decoder on top; encoder, embeddings and MLM head are shared by both losses."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.enhanced_decoder = EnhancedDecoder(config)
        self.decoder_ratio = 0.5
        self.special_ids: tuple[int, ...] = ()
        self.post_init()

    def start_decoder_from_encoder(self) -> None:
        """Copy the encoder's last layer into the decoder: a random one makes the loss jump at the start."""
        last = self.bert.encoder.layer[-1]
        for part in ("attention", "intermediate", "output"):
            getattr(self.enhanced_decoder, part).load_state_dict(getattr(last, part).state_dict())

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        masked_places: torch.Tensor,
        lengths: list[int],
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        target_ids: torch.Tensor | None = None,
        word_ids: torch.Tensor | None = None,
        draws: torch.Tensor | None = None,
        num_decoder_items: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Return L = L_enc + L_dec (§3), each divided by its own number of predictions.

        `target_ids` and `word_ids` (rows, length) are the clean tokens and the number of their word, `draws` (rows,)
        seed the visible sets; the other arguments are `BertForMaskedLM`'s. Without them it is masked language
        modelling alone, as evaluation wants it.
        """
        if target_ids is None or word_ids is None or draws is None:
            return super().forward(input_ids, position_ids, masked_places, lengths, labels, num_items_in_batch)
        hidden = self.bert(input_ids, position_ids=position_ids, lengths=lengths).last_hidden_state[0]
        assert labels is not None
        encoder_loss = summed_loss(self.cls(hidden[masked_places]), labels, num_items_in_batch)

        rows, length = target_ids.shape
        segments, firsts = segment_numbers(lengths, hidden.device)
        targets = self.decoder_targets(target_ids)
        visible = visible_sets(
            segments.view(rows, length), word_ids, targets != IGNORED, draws, self.decoder_ratio
        )  # (rows, length, length)
        sentence = hidden[firsts[segments]].view(rows, length, -1)  # h of the token's own document
        positions = position_ids.view(rows, length)
        queries = self.bert.embeddings(inputs_embeds=sentence, position_ids=positions)
        contexts = self.bert.embeddings(input_ids=target_ids, position_ids=positions)
        contexts = torch.where((positions == 0).unsqueeze(-1), sentence, contexts)  # [CLS] is replaced by h
        decoded = self.enhanced_decoder(queries, contexts.to(queries.dtype), visible)
        wanted = targets != IGNORED
        decoder_loss = summed_loss(self.cls(decoded[wanted]), targets[wanted], num_decoder_items)
        return RetroMAEOutput(
            loss=encoder_loss + decoder_loss, encoder_loss=encoder_loss.detach(), decoder_loss=decoder_loss.detach()
        )

    def decoder_targets(self, target_ids: torch.Tensor) -> torch.Tensor:
        """Return the ids (rows, length) that the decoder predicts: every real token; specials and padding are -100."""
        special = torch.tensor(self.special_ids, device=target_ids.device)
        return target_ids.masked_fill(torch.isin(target_ids, special), IGNORED)


def segment_numbers(lengths: list[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each token (tokens,) the number of its segment, and for each segment the place of its first token."""
    sizes = torch.tensor(lengths)
    numbers = torch.repeat_interleave(torch.arange(len(lengths)), sizes)
    return numbers.to(device), (sizes.cumsum(0) - sizes).to(device)


def visible_sets(
    segments: torch.Tensor, word_ids: torch.Tensor, ordinary: torch.Tensor, draws: torch.Tensor, ratio: float
) -> torch.Tensor:
    """Return which columns j each row i sees (rows, length, length): Eq. 7, a set of its own for every row.

    Inside its own segment a row sees [CLS] and [SEP] always, itself never, and each other word with probability
    1 − ratio. `ordinary` (rows, length) is False at specials and padding; their own rows are never scored and see
    themselves, since an empty row would make NaN.
    """
    length = segments.shape[1]
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    kept = uniform(draws, length, word_ids) >= ratio
    own = torch.eye(length, dtype=torch.bool, device=segments.device)
    seen = same & (kept | ~ordinary.unsqueeze(1)) & ~own
    return seen | (own & ~ordinary.unsqueeze(2))


def uniform(draws: torch.Tensor, length: int, word_ids: torch.Tensor) -> torch.Tensor:
    """Return numbers in [0, 1) for (row, i, word of j) (rows, length, length), a hash of their counters.

    Words, not tokens, are drawn: all tokens of a word are seen together or not at all. Nothing is stored and nothing
    but `draws` comes from outside, so a resumed run draws the same sets on any device.
    """
    i = torch.arange(1, length + 1, device=word_ids.device).view(1, -1, 1)
    x = draws.view(-1, 1, 1) + i * -7046029254386353131 + word_ids.unsqueeze(1) * 6364136223846793005
    for shift, factor in ((29, -4658895280553007687), (32, -7723592293110705685)):
        x = (
            x ^ ((x >> shift) & (2 ** (64 - shift) - 1))
        ) * factor  # the mask makes the shift of signed numbers logical
    return ((x >> 40) & 0xFFFFFF).float() / 2**24
