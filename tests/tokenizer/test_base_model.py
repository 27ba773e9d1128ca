import shutil
from pathlib import Path

import pytest
import torch

from finbert2 import files
from finbert2.errors import UserError
from finbert2.hub import push
from finbert2.tokenizer import train
from finbert2.tokenizer.base_tokenizer import train_base

from ..conftest import TEXTS, WORDS
from .test_train import load, refused, trained


def test_a_model_is_grown_with_its_tokenizer(corpus, tmp_path, tiny_bert):
    from transformers import AutoModelForMaskedLM

    trained(corpus, tmp_path / "o", "--base_model", tiny_bert, "--num_added_tokens", "9")
    model, base = (AutoModelForMaskedLM.from_pretrained(name) for name in (tmp_path / "o", tiny_bert))
    tokenizer, first = load(tmp_path / "o"), base.config.vocab_size
    push.check(tmp_path / "o", "model")  # it has a card, as every model that is written
    card = (tmp_path / "o" / "README.md").read_text(encoding="utf-8")
    assert f"| base_model | {Path(tiny_bert).name} |" in card and "| num_added_tokens | 9 |" in card
    assert model.config.vocab_size == len(tokenizer) == first + 9
    assert set(WORDS).isdisjoint(row.values["word"] for row in files.read_rows(tmp_path / "o" / "words.csv"))
    rows, old = model.get_input_embeddings().weight, base.get_input_embeddings().weight
    assert torch.equal(rows[:first], old)
    ids = load(tiny_bert)([tokenizer.convert_ids_to_tokens(first)], add_special_tokens=False)["input_ids"][0]
    torch.testing.assert_close(rows[first], old[ids].mean(0))
    with torch.no_grad():
        assert model(**tokenizer(TEXTS[0], return_tensors="pt")).logits.shape[-1] == first + 9


def test_a_bare_encoder_is_grown_with_a_random_head_and_that_is_told(corpus, tmp_path, tiny_bert, caplog):
    from transformers import AutoModel

    shutil.copytree(tiny_bert, tmp_path / "bare")
    AutoModel.from_pretrained(tiny_bert, add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    for name, told in ((tiny_bert, 0), (str(tmp_path / "bare"), 1)):
        caplog.clear()
        trained(corpus, tmp_path / f"o{told}", "--base_model", name, "--num_added_tokens", "9")
        assert caplog.text.count("has no masked-language-model head: the one that is written is random") == told


def test_a_base_tokenizer_of_another_model_is_refused_before_work(corpus, tmp_path, tiny_bert, capsys):
    argv = ("--corpus", corpus, "--output_dir", tmp_path / "o", "--base_model", tiny_bert, "--base_tokenizer")
    end = "; leave --base_tokenizer out to take the model's own\n"
    other, own = train_base(["甲乙丙丁" * 9], 200), load(tiny_bert)
    other.save_pretrained(tmp_path / "other")
    own.add_tokens(["甲乙"])
    own.save_pretrained(tmp_path / "grown")
    start = (
        f"error: --base_tokenizer {tmp_path}/{{}} and --base_model {tiny_bert} do not belong together: the tokenizer "
    )
    ids, own_ids = other.get_vocab(), load(tiny_bert).get_vocab()
    number, token = min((number, token) for token, number in own_ids.items() if ids.get(token) != number)
    moved = f"gives {token!r} the id {ids.get(token)}, the model has its embedding at {number}"
    assert refused(capsys, *argv, tmp_path / "other") == start.format("other") + moved + end
    more = f"has {len(own)} tokens, the model {len(own) - 1} embeddings"
    assert refused(capsys, *argv, tmp_path / "grown") == start.format("grown") + more + end
    assert not (tmp_path / "o").exists()


def test_a_copy_of_the_models_tokenizer_is_welcome_also_for_a_name_on_the_hub(corpus, tmp_path, tiny_bert, monkeypatch):
    cached = tmp_path / "hub" / "models--owner--fin"
    shutil.copytree(tiny_bert, cached / "snapshots" / ("a" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    options = train.TokenizerArguments([str(corpus)], "o", base_tokenizer=tiny_bert, base_model="owner/fin")
    train.check_base(options)
    train_base(["甲乙丙丁" * 9], 200).save_pretrained(tmp_path / "other")
    options.base_tokenizer = str(tmp_path / "other")
    with pytest.raises(UserError, match="and --base_model owner/fin do not belong together: the tokenizer gives "):
        train.check_base(options)


def test_a_base_whose_ids_have_gaps_is_refused(corpus, tmp_path, capsys):
    """The tokenizers library numbers added words by the number of tokens: they would get ids of others."""
    base = tmp_path / "base"
    base.mkdir()
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "公", "公", "司"]
    (base / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (base / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        train.main(["--corpus", str(corpus), "--base_tokenizer", str(base), "--output_dir", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert f"{base} has 7 tokens and ids up to 7: words would get others' ids." in capsys.readouterr().err
