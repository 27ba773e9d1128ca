"""RetroMAE's decoder and the losses beside it, against their formulas."""

import math

import numpy as np
import pytest
import torch

from finbert2.attention import Segments
from finbert2.pretrain.evaluate import load_model
from finbert2.pretrain.retromae import RetroMAE
from finbert2.pretrain.visible import make_blocks, uniform8, visible_set
from tests.pretrain.conftest import all_states, mlm, retromae


def test_visible_sets_follow_equation_7():
    """Specials always, oneself never, other segments never, words whole, and the rest at 1 − ratio."""
    segments = Segments(np.array([40, 24] * 64))
    starts = torch.randint(0, 2, (64, 64), generator=torch.Generator().manual_seed(0))
    starts[:, [0, 1, 39, 40, 41, 63]] = 1
    words = torch.cumsum(starts.view(-1), 0)
    special = torch.zeros(64, 64, dtype=torch.bool)
    special[:, [0, 39, 40, 63]] = True
    special = special.view(-1)
    places = torch.nonzero(~special)[:, 0]
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, 2**62, 128))
    (block,) = make_blocks(segments, places.numpy(), words.numpy())
    assert sorted(block["segments"].tolist()) == list(range(128))
    seen = visible_set(block, draws, 0.5)
    queries = places[block["queries"]]
    own_word, rates = 0, []
    for n, segment in enumerate(block["segments"].tolist()):
        first, length = int(segments.firsts[segment]), int(segments.lengths[segment])
        assert block["columns"][n, :length].tolist() == list(range(first, first + length))
        assert not seen[n, :, length:].any()
        assert seen[n, :, 0].all()
        asked = int((block["asked"] // queries.shape[1] == n).sum())
        assert queries[n, :asked].tolist() == list(range(first + 1, first + length - 1))
        assert seen[n, :asked, length - 1].all()
        inner = seen[n, :asked, 1 : length - 1]
        assert not torch.diagonal(inner).any()
        rates.append(inner[~torch.eye(asked, dtype=torch.bool)].float().mean().item())
        for word in words[first + 1 : first + length - 1].unique():
            columns = [j for j in range(asked) if words[first + 1 + j] == word and j != 5]
            assert len({bool(inner[5, j]) for j in columns}) <= 1
            own_word += sum(bool(inner[j, k]) for j in columns for k in columns)
    assert np.mean(rates) == pytest.approx(0.5, abs=0.01)
    assert own_word  # the paper hides the token, not its word
    assert not torch.equal(seen[0, 5], seen[0, 6])  # each row has a set of its own
    whole = visible_set(block, draws, 0.5, whole_words=True)
    same_word = words[queries].unsqueeze(2) == words[block["columns"]].unsqueeze(1)
    assert torch.equal(queries, block["asking"] + torch.from_numpy(segments.firsts)[block["segments"], None])
    assert not (whole & same_word & ~special[block["columns"]].unsqueeze(1)).any()
    assert torch.equal(whole & ~same_word, seen & ~same_word)


def test_uniform8_is_uniform():
    """Quarters of the range come up a quarter of the time, and rows are not alike."""
    values = uniform8(torch.arange(16) * 7_777_777_777, torch.arange(64), 61)
    assert values.shape == (16, 64, 61)
    assert torch.histc(values.float(), 4, -(2**7), 2**7).div(values.numel()).sub(0.25).abs().max() < 0.01
    bits = (values.double() >= 0).double() - 0.5
    for one, other in ((bits[:, 1:], bits[:, :-1]), (bits[:, :, 1:], bits[:, :, :-1]), (bits[1:], bits[:-1])):
        assert (one * other).mean().abs() < 0.25 * 4 / one.numel() ** 0.5  # neighbours do not know of one another


def test_retromae_equals_the_paper_written_out(tiny_bert, tokenizer, batch):
    """The loss is that of a token-by-token transcription of §3.3 with the same visible sets."""
    model = retromae(tiny_bert).eval()
    with torch.no_grad():
        ours = model(**batch)
        assert ours.decoder_loss.item() == pytest.approx(decoder_loss_by_hand(model, batch, tokenizer), abs=2e-5)
        encoder = load_model(tiny_bert).eval()(**mlm(batch)).loss
        assert ours.encoder_loss.item() == pytest.approx(encoder.item(), rel=1e-6)
        assert ours.loss.item() == pytest.approx(ours.encoder_loss.item() + ours.decoder_loss.item(), rel=1e-6)


def seen_by(model: RetroMAE, batch) -> dict[int, list[int]]:
    """Return for each predicted token, by its place, the places that it sees."""
    decoder = batch["decoder_batch"]
    found = {}
    for block, seen in zip(decoder["blocks"], model.visible_sets(decoder), strict=True):
        for flat in block["asked"].tolist():
            n, row = divmod(flat, block["queries"].shape[1])
            place = int(decoder["decoder_places"][block["queries"][n, row]])
            found[place] = block["columns"][n][seen[n, row]].tolist()
    return found


def decoder_loss_by_hand(model: RetroMAE, batch, tokenizer) -> float:
    """Return −mean log p over all real tokens, one query row at a time: q_i, H2, Eq. 7, LN(W_o A + q), LN(FFN + u)."""
    hidden = all_states(model, batch)
    segments, sees = batch["segments"], seen_by(model, batch)
    targets, positions = batch["target_ids"], batch["position_ids"][0]
    special = torch.isin(targets, torch.tensor(tokenizer.all_special_ids))
    assert sorted(sees) == torch.nonzero(~special)[:, 0].tolist()
    table, block = model.bert.embeddings, model.enhanced_decoder
    heads, width = model.config.num_attention_heads, model.config.hidden_size // model.config.num_attention_heads
    attend, total = block.attention.self, 0.0
    context = table(input_ids=targets[None], position_ids=positions[None])[0]
    context[segments.firsts] = hidden[segments.firsts]
    for i, columns in sees.items():
        sentence = hidden[segments.firsts[segments.numbers()[i]]]
        query = table(inputs_embeds=sentence[None, None], position_ids=positions[i][None, None])[0, 0]
        q, k, v = attend.query(query), attend.key(context[columns]), attend.value(context[columns])
        parts = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            weights = torch.softmax(k[:, part] @ q[part] / math.sqrt(width), 0)
            parts.append(weights @ v[:, part])
        u = block.attention.output.LayerNorm(block.attention.output.dense(torch.cat(parts)) + query)
        z = block.output.LayerNorm(block.output.dense(block.intermediate(u)) + u)
        total -= torch.log_softmax(model.cls(z[None])[0], -1)[targets[i]].item()
    return total / len(sees)


def test_a_token_has_no_gradient_to_its_own_prediction(tiny_bert, tokenizer, batch):
    """The clean embedding of token i does not move the decoder's output at i; exactly those that i sees do."""
    model = retromae(tiny_bert).eval()
    decoder = batch["decoder_batch"]
    places = decoder["decoder_places"]
    contexts = torch.randn(1, len(batch["target_ids"]), 32, requires_grad=True)
    sets = model.visible_sets(decoder)
    decoded = model.enhanced_decoder(torch.randn(1, len(places), 32), contexts, decoder["blocks"], sets)
    (decoded[0, 3] * torch.randn(32)).sum().backward()  # a plain sum of a LayerNorm's output never changes
    moved = torch.nonzero(contexts.grad[0].abs().sum(-1))[:, 0].tolist()
    assert moved == sorted(seen_by(model, batch)[int(places[3])])
    assert int(places[3]) not in moved


def test_gradients_flow_to_the_encoder_through_the_sentence(tiny_bert, tokenizer, batch):
    """The decoder's loss alone moves the encoder's layers, embeddings and head."""
    model = retromae(tiny_bert)
    hidden = all_states(model, batch)
    decoder = batch["decoder_batch"]
    loss = model.decoder_loss(hidden[decoder["firsts"]], batch["target_ids"], batch["position_ids"], decoder, None)
    loss.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


def test_fewer_decoder_targets_are_an_even_sample(collate):
    """A share of 0.5 predicts about half of the tokens, others in another epoch's rows, and no special."""
    all_places = collate(decoder_targets=1.0)["decoder_batch"]["decoder_places"]
    half = collate(decoder_targets=0.5)["decoder_batch"]["decoder_places"]
    assert set(half.tolist()) < set(all_places.tolist())
    assert len(half) / len(all_places) == pytest.approx(0.5, abs=0.12)


def test_bag_of_words_equals_its_formula(tiny_bert, tokenizer, collate):
    """DupMAE's third objective, a document at a time, on logits of all its tokens."""
    model = retromae(tiny_bert).eval()
    model.bag_of_words_weight = 0.1
    batch = collate(decoder_targets=1.0, whole_last_layer=True)
    output = model(**batch)
    logits, segments = model.cls(all_states(model, batch)), batch["segments"]
    losses = []
    for document in batch["decoder_batch"]["documents"].tolist():
        inside = range(segments.firsts[document] + 1, segments.firsts[document] + segments.lengths[document] - 1)
        mu = torch.stack([logits[i] for i in inside]).max(0).values
        words = {int(batch["target_ids"][i]) for i in inside}
        losses.append(-sum(torch.log_softmax(mu, 0)[v] / len(inside) for v in words))
    expected = torch.stack(losses).mean()
    assert output.bag_of_words_loss.item() == pytest.approx(expected.item(), rel=1e-5)
    total = output.encoder_loss + output.decoder_loss + 0.1 * output.bag_of_words_loss
    assert output.loss.item() == pytest.approx(total.item(), rel=1e-6)


def test_words_of_the_cls_vector_equal_their_formula(tiny_bert, tokenizer, collate):
    """Each distinct ordinary token of a document once, from its [CLS] vector alone, whatever the decoder predicts."""
    model = retromae(tiny_bert).eval()
    model.cls_words_weight = 2.0
    for share in (1.0, 0.3):
        batch = collate(decoder_targets=share)
        output = model(**batch)
        hidden, segments = all_states(model, batch), batch["segments"]
        losses = []
        for document in batch["decoder_batch"]["documents"].tolist():
            first, length = segments.firsts[document], segments.lengths[document]
            words = {int(token) for token in batch["target_ids"][first : first + length]} - set(
                tokenizer.all_special_ids
            )
            scores = torch.log_softmax(model.cls(hidden[first]), 0)
            losses.append(-sum(scores[word] for word in words) / len(words))
        assert len(losses) > 2
        assert output.cls_words_loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
        total = output.encoder_loss + output.decoder_loss + 2.0 * output.cls_words_loss
        assert output.loss.item() == pytest.approx(total.item(), rel=1e-6)


def test_retromae_without_targets_is_mlm(tiny_bert, tokenizer, batch):
    """Evaluation feeds it like a masked language model."""
    model = retromae(tiny_bert).eval()
    with torch.no_grad():
        assert model(**mlm(batch)).loss.item() == pytest.approx(load_model(tiny_bert).eval()(**mlm(batch)).loss.item())
