"""Loading models by local folder or Hub name, and the protocol of a sentence encoder."""

import contextlib
import logging
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from finbert2 import files, network, runtime
from finbert2.errors import UserError, first_line

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
T = TypeVar("T")
TOKENS = {False: 4096, True: 65536}  # a forward pass, by whether the device is CUDA: a processor's cache is small
FAIR_TOKENS, SHORTER = 1024, 0.9  # a padded batch of so many slots ends at a row below that share of its longest
UNMASKED_TOKENS = 256  # the same where a batch without padding needs no mask


class Encoder(Protocol):
    """Whatever turns texts into vectors."""

    def encode(self, texts: Sequence[str], is_query: bool = False, show_progress: bool = False) -> "np.ndarray":
        """Return unit vectors (texts, width) in float32; queries and documents get the model's prompt for them."""


def load(loader: Callable[..., T], name: str, **options: Any) -> T:
    """Return `loader(name, **options)`, say `AutoModel.from_pretrained`, of a local folder or a Hub name.

    A Hub name may carry a branch, tag or commit: owner/name@revision. Raises `UserError` saying which name was tried
    and how to go on, or what is wrong with its files.
    """
    import json
    import pickle

    from safetensors import SafetensorError

    damage: tuple[type[Exception], ...] = (SafetensorError, json.JSONDecodeError, pickle.UnpicklingError, EOFError)
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not any((folder / file).exists() for file in ("config.json", "tokenizer_config.json")):
        inside = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
        raise UserError(
            f"{name} is not a model folder (no config.json there; found: {inside or 'nothing'}): "
            "name a folder written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base"
        )
    wanted, _, revision = name.partition("@") if not folder.exists() else (name, "", "")
    on_the_hub = contextlib.nullcontext() if folder.exists() else network.cache_alone_if_cut_off()
    try:
        with on_the_hub:
            found = loader(wanted, **options, **({"revision": revision} if revision else {}))
    except damage as error:
        raise UserError(f"the model '{name}' has a damaged file ({first_line(error)}): fetch or save it anew") from None
    except OSError as error:
        raise UserError(
            f"the model '{name}' could not be loaded ({first_line(error)}): check the name and the network "
            "(HF_ENDPOINT names a mirror, HF_TOKEN a token), or download it elsewhere and give the local folder"
            f"{'' if folder.exists() else f'; there is no folder {folder.absolute()}'}"
        ) from None
    except ValueError as error:  # a kind of model or tokenizer that is not known here, or that wants another package
        said = " ".join(str(error).split()).partition(" Model type should be one of")[0]  # two hundred names follow
        raise UserError(f"the model '{name}' cannot be opened: {said}") from None
    except RuntimeError as error:
        if "corrupted" in str(error):  # a pytorch_model.bin that was cut off
            raise UserError(
                f"the model '{name}' has a damaged file ({first_line(error)}): fetch or save it anew"
            ) from None
        if "ignore_mismatched_sizes" in str(error):
            raise UserError(f"the weights of {name} do not fit its config.json: their shapes are others") from None
        raise
    need_vocabulary(found, name)
    return found


def need_vocabulary(found: Any, name: str) -> None:
    """Raise `UserError` for what transformers makes of a folder without tokenizer: one of special tokens alone."""
    if hasattr(found, "all_special_ids") and len(found) <= len(found.all_special_ids):
        raise UserError(
            f"{name} has no vocabulary: copy tokenizer.json (or vocab.txt) and tokenizer_config.json into it"
        )


def save_tokenizer(tokenizer: Any, folder: str | Path) -> None:
    """Write a tokenizer so that it loads quickly, however many words were added to it.

    transformers 5 takes the added tokens from the config, or else makes an object of each of them in Python, several
    times: most of the loading time of 13,804 words. The generic class finds them in tokenizer.json anyway, so its
    config names the special ones alone. Classes such as `BertTokenizer` are built anew from the config's list.
    """
    import json

    from transformers import PreTrainedTokenizerFast

    tokenizer.save_pretrained(folder)
    if type(tokenizer) is PreTrainedTokenizerFast:
        path = Path(folder) / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        added = json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"]
        special = {str(token.pop("id")): token for token in added if token["special"]}
        # The generic class under the name that every version of transformers with fast tokenizers knows.
        files.write_json(path, config | {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": special})


class SentenceEncoder:
    """A SentenceTransformer folder, or a plain BERT read by its normalised CLS vector (or mean), behind `Encoder`."""

    def __init__(self, name: str, batch_size: int = 64, pooling: str = "cls") -> None:
        self.name = name
        self.batch_size = batch_size
        self.model = load_sentence_transformer(name, pooling)

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return int(self.model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str], is_query: bool = False, show_progress: bool = False) -> "np.ndarray":
        """Return unit vectors (texts, width) in float32; queries and documents get the model's prompt for them."""
        prompt = (query_prompt if is_query else document_prompt)(self.model)
        return encode(self.model, texts, self.batch_size, show_progress, prompt=prompt)


def query_prompt(model: "SentenceTransformer") -> str:
    """Return the text that a model wants before a query, perhaps none."""
    return model.prompts.get("query") or ""


def document_prompt(model: "SentenceTransformer") -> str:
    """Return the text that a model wants before a document, perhaps none."""
    return model.prompts.get("document") or ""


def encode(
    model: "SentenceTransformer",
    texts: Sequence[str],
    batch_size: int = 64,
    show_progress: bool = False,
    bf16: bool | None = None,
    prompt: str = "",
) -> "np.ndarray":
    """Return a model's unit vectors (texts, width) in float32, computed in bf16 where the device has it.

    `prompt` stands before each text. The texts are read longest first, at most `batch_size` of them and `TOKENS` tokens
    a forward pass, without padding where the model allows it, else by sentence-transformers.
    """
    import numpy as np
    import torch

    from finbert2 import packing

    width = model.get_embedding_dimension() or 0
    if not packing.can_pack(model) or not texts or (prompt and not packing.pools_prompt(model)):
        with runtime.autocast(bf16):
            vectors = model.encode(
                list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=show_progress,
                prompt=prompt, convert_to_tensor=True,
            )  # fmt: skip
        return vectors.float().cpu().numpy().astype(np.float32).reshape(len(texts), width)
    start, limit = packing.position_start(packing.config_of(model)), model.max_seq_length or 512
    # As arrays: of a million passages the tokens in lists hold several times as much memory, ten GiB.
    ids = [
        array("i", part) for some in blocks(texts, 4096)
        for part in tokenised(model.tokenizer, [prompt + text for text in some], limit)
    ]  # fmt: skip
    lengths = [len(one) for one in ids]
    found = np.empty((len(texts), width), np.float32)
    was_training = model.training
    model.eval()
    with runtime.inference(bf16), progress(len(texts), show_progress) as bar:
        for places in batches(longest_first(lengths), lengths, batch_size, TOKENS[runtime.device() == "cuda"]):
            features = packing.lay([ids[place] for place in places], start)
            vectors = packing.sentence_vectors(
                model, {name: value.to(model.device) for name, value in features.items()}
            )
            found[places] = torch.nn.functional.normalize(vectors[:, :width].float(), dim=-1).cpu().numpy()
            bar.update(len(places))
    model.train(was_training)
    return found


def tokenised(tokenizer: Any, texts: list[str], limit: int) -> list[list[int]]:
    """Return the token ids of texts, each cut at `limit` tokens."""
    return tokenizer(texts, truncation=True, max_length=limit, return_attention_mask=False)["input_ids"]


def blocks(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    """Yield the texts in lists of `size`."""
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])


def batches(order: Sequence[int], lengths: Sequence[int], most: int, tokens: int) -> Iterator[list[int]]:
    """Yield places in their order, at most `most` and, unless one alone is longer, `tokens` tokens at a time."""
    batch: list[int] = []
    held = 0
    for place in order:
        if batch and (len(batch) == most or held + lengths[place] > tokens):
            yield batch
            batch, held = [], 0
        batch.append(place)
        held += lengths[place]
    if batch:
        yield batch


def padded_batches(lengths: Sequence[int], budget: int, unmasked: bool = False) -> Iterator[list[int]]:
    """Yield lists of places, longest rows first, whose padded size stays within `budget` slots (or is one row).

    A batch of a fair size ends where rows get much shorter: of few texts of all lengths a budget alone makes one batch.
    With `unmasked`, for graphs that are faster without a mask, it is fair early and ends at the first shorter row.
    """
    fair, share = (UNMASKED_TOKENS, 1.0) if unmasked else (FAIR_TOKENS, SHORTER)
    batch: list[int] = []
    for place in longest_first(lengths):
        longest = lengths[batch[0]] if batch else 0
        shorter = len(batch) * longest >= fair and lengths[place] < share * longest
        if batch and (shorter or (len(batch) + 1) * longest > budget):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Return the places of `lengths`, those of the longest first."""
    return sorted(range(len(lengths)), key=lambda place: -lengths[place])


def progress(total: int, shown: bool) -> Any:
    """Return a progress bar over texts."""
    from tqdm import tqdm

    return tqdm(total=total, unit="text", disable=not shown)


def load_sentence_transformer(name: str, pooling: str = "cls") -> "SentenceTransformer":
    """Open a SentenceTransformer folder or Hub name; a plain BERT gets `pooling` ("cls" or "mean") and normalisation.

    sentence-transformers itself would silently give a plain BERT mean pooling: the encoders of this suite are
    trained on CLS.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from transformers import AutoTokenizer

    from finbert2 import packing, vocabulary, weights

    tokenizer = load(AutoTokenizer.from_pretrained, name)
    if is_sentence_transformer(name):
        model = load(SentenceTransformer, name, device=runtime.device())
    else:
        if pooling == "cls":
            vocabulary.need_cls(tokenizer, name)
        transformer = load(transformer_module, name)
        pooled = Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)
        model = SentenceTransformer(modules=[transformer, pooled, Normalize()], device=runtime.device())
    limits = [model.max_seq_length or 512, tokenizer.model_max_length, 512]
    if type(model[0]).__name__ == "Transformer":
        weights.check(model[0], name)
        limits.append(packing.positions(packing.config_of(model)))
    model.max_seq_length = min(limits)
    return weights.widened(model)


def transformer_module(name: str, **options: Any) -> Any:
    """Return sentence-transformers' module of a plain encoder; `options` name its revision, if any."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return Transformer(name, model_kwargs=options, processor_kwargs=options, config_kwargs=options)


def is_sentence_transformer(name: str) -> bool:
    """Tell whether a folder or Hub name says itself how its tokens become one vector, by a `modules.json`."""
    from sentence_transformers.util import is_sentence_transformer_model

    if Path(name).exists():
        return (Path(name) / "modules.json").exists()
    told = load(is_sentence_transformer_model, name)
    if not told:  # or not told: off line the file may only not be in the cache
        log.info("%s has no modules.json: it is read by its CLS vector", name)
    return told
