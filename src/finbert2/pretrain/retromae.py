"""RetroMAE: a one-layer decoder rebuilds the text from its [CLS] vector alone (Xiao et al. 2022, arXiv 2205.12035)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig
from transformers.modeling_outputs import MaskedLMOutput
from transformers.models.bert.modeling_bert import BertAttention, BertIntermediate, BertOutput

from finbert2.attention import Segments
from finbert2.pretrain import visible
from finbert2.pretrain.head import summed_loss
from finbert2.pretrain.model import BertForMaskedLM

DECODER_PREFIX = "enhanced_decoder."


@dataclass
class RetroMAEOutput(MaskedLMOutput):
    """The loss and its parts."""

    encoder_loss: torch.Tensor | None = None
    decoder_loss: torch.Tensor | None = None
    bag_of_words_loss: torch.Tensor | None = None
    cls_words_loss: torch.Tensor | None = None


class EnhancedDecoder(nn.Module):
    """One transformer layer whose queries hold only the sentence and a position (§3.3, two streams)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        config = BertConfig.from_dict(config.to_dict(), attn_implementation=visible.register())
        self.attention = BertAttention(config, is_cross_attention=True)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self, queries: torch.Tensor, contexts: torch.Tensor, blocks: list[visible.Block], sets: list[torch.Tensor]
    ) -> torch.Tensor:
        """Return the decoded states (1, targets, width) from H1 (1, targets, width), H2 (1, tokens, width), Eq. 7.

        `sets` say which columns of its block each query sees. The residual is the query, so a token can reach its own
        prediction by no way.
        """
        attended = self.attention(queries, encoder_hidden_states=contexts, blocks=blocks, visible=sets)[0]
        return self.output(self.intermediate(attended), attended)


class RetroMAE(BertForMaskedLM):
    """BERT with the enhanced decoder on top; encoder, embeddings and MLM head are shared by all losses."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.enhanced_decoder = EnhancedDecoder(config)
        self.decoder_ratio = 0.5
        self.hide_whole_words = False
        self.bag_of_words_weight = 0.0
        self.cls_words_weight = 0.0
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
        segments: Segments,
        masked_places: torch.Tensor,
        labels: torch.Tensor,
        kept_places: torch.Tensor | None = None,
        kept_segments: Segments | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        target_ids: torch.Tensor | None = None,
        decoder_batch: dict[str, Any] | None = None,
        num_decoder_items: torch.Tensor | int | None = None,
        num_documents: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Return L = L_enc + L_dec (§3) + weights · (L_bow, L_cls), each divided by its own number of predictions.

        `target_ids` (tokens,) are the clean tokens, `decoder_batch` what the collator made for the decoder; the other
        arguments are `BertForMaskedLM`'s. Without them it is masked language modelling alone, as evaluation wants it.
        """
        if target_ids is None or decoder_batch is None:
            return super().forward(
                input_ids, position_ids, segments, masked_places, labels, kept_places, kept_segments,
                num_items_in_batch,
            )  # fmt: skip
        hidden = self.encode(input_ids, position_ids, segments, kept_places, kept_segments)
        encoder_loss = summed_loss(self.cls.predictions, hidden[masked_places], labels, num_items_in_batch)
        sentences = hidden[decoder_batch["kept_firsts"]]
        decoder_loss = self.decoder_loss(sentences, target_ids, position_ids, decoder_batch, num_decoder_items)
        loss = encoder_loss + decoder_loss
        output = RetroMAEOutput(encoder_loss=encoder_loss.detach(), decoder_loss=decoder_loss.detach())
        if self.bag_of_words_weight:
            documents = decoder_batch["documents"]
            bag = self.bag_of_words_loss(hidden, target_ids, segments, documents.tolist())
            bag = bag / (len(documents) if num_documents is None else num_documents)
            loss = loss + self.bag_of_words_weight * bag
            output.bag_of_words_loss = bag.detach()
        if self.cls_words_weight:
            words = self.cls_words_loss(sentences, decoder_batch)
            words = words / (len(decoder_batch["documents"]) if num_documents is None else num_documents)
            loss = loss + self.cls_words_weight * words
            output.cls_words_loss = words.detach()
        output.loss = loss
        return output

    def decoder_loss(
        self, sentences: torch.Tensor, target_ids: torch.Tensor, position_ids: torch.Tensor,
        decoder_batch: dict[str, Any], items: torch.Tensor | int | None,
    ) -> torch.Tensor:  # fmt: skip
        """Return L_dec of the documents with the vectors `sentences` (segments, width)."""
        places, firsts = decoder_batch["decoder_places"], decoder_batch["firsts"]
        if not len(places):  # rows of unknown characters alone; data-parallel training counts on each gradient
            return torch.stack([parameter.sum() for parameter in self.enhanced_decoder.parameters()]).sum() * 0.0
        # (targets, width), h of the token's own document; threads sum an index's gradient in another order each run
        sentence = functional.embedding(decoder_batch["target_segments"], sentences)
        queries = self.bert.embeddings(inputs_embeds=sentence.unsqueeze(0), position_ids=position_ids[:, places])
        contexts = self.bert.embeddings(input_ids=target_ids.unsqueeze(0), position_ids=position_ids)
        contexts = contexts.to(queries.dtype).index_copy(1, firsts, sentences.unsqueeze(0).to(queries.dtype))
        sets = self.visible_sets(decoder_batch)
        decoded = self.enhanced_decoder(queries, contexts, decoder_batch["blocks"], sets)
        return summed_loss(self.cls.predictions, decoded[0], target_ids[places], items)

    def visible_sets(self, decoder_batch: dict[str, Any]) -> list[torch.Tensor]:
        """Return the visible sets of each block (n, queries, columns)."""
        return [
            visible.visible_set(block, decoder_batch["draws"], self.decoder_ratio, self.hide_whole_words)
            for block in decoder_batch["blocks"]
        ]

    def cls_words_loss(self, sentences: torch.Tensor, decoder_batch: dict[str, Any]) -> torch.Tensor:
        """Return −Σ_v log softmax(W h)_v / n over the n distinct tokens v of a document, summed over documents.

        h is the document's [CLS] vector, a row of `sentences` (segments, width), and W the MLM head (Ma et al. 2024,
        arXiv 2401.11248, Eq. 5): no position, no decoder, so the gradient reaches [CLS] in one step.
        """
        documents, tokens = decoder_batch["word_documents"], decoder_batch["word_tokens"]
        scores = torch.log_softmax(self.cls.predictions(sentences[decoder_batch["documents"]]).float(), dim=-1)
        share = 1.0 / torch.bincount(documents, minlength=len(scores)).clamp(min=1)
        return -(scores[documents, tokens] * share[documents]).sum()

    def bag_of_words_loss(
        self, hidden: torch.Tensor, target_ids: torch.Tensor, segments: Segments, documents: list[int]
    ) -> torch.Tensor:
        """Return DupMAE's −Σ_v t_v log softmax(μ)_v summed over documents (arXiv 2305.02564, §3).

        μ is the elementwise maximum of the logits of a document's tokens, t_v = 1/n for each distinct token v among
        its n tokens, as the released code has it. `hidden` (tokens, width) has to be of all tokens.
        """
        total = hidden.new_zeros((), dtype=torch.float32)
        firsts, lengths = segments.firsts.tolist(), segments.lengths.tolist()
        for document in documents:
            first, length = firsts[document], lengths[document]
            inside = slice(first + 1, first + length - 1)
            best = self.cls(hidden[inside]).float().max(dim=0).values  # (vocabulary,)
            distinct = target_ids[inside].unique()
            total = total - torch.log_softmax(best, dim=0)[distinct].sum() / max(1, length - 2)
        return total
