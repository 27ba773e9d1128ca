"""Domain words side by side: python benchmarks/domain_words.py --corpus FILE… --texts NAME=FILE[:FIELD]… --work FOLDER.

Learns everything from the corpus: a character vocabulary in the manner of bert-base-chinese, and on top of it the same
number of words by a plain ranking (occurrences × (length − 1) of SentencePiece's pieces, no filter), by this suite
(`tokenizer train`), as WoBERT does it (jieba first, a word if it is in the vocabulary), and this suite's words by
Viterbi instead of longest match.

`--original` is the SentencePiece model of FinBERT2's repository, whose words are taken in its
own order. Writes benchmarks/results/domain_words.json.
"""

import argparse
import json
import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from finbert2 import files, runtime
from finbert2.segment import segmenter, word_boundaries
from finbert2.tokenizer import matching, train, unigram
from finbert2.tokenizer.base_tokenizer import train_base
from finbert2.tokenizer.extend import MARKS, extend_tokenizer
from finbert2.tokenizer.measure import Cutter, measure, of_huggingface, of_sentencepiece

SIZES = (13_804, 8_000)
MIN_COUNT = 5
ROUNDS = 3
WOBERT_DOCUMENTS = 30_000  # jieba counts words in


def main() -> None:
    """Make the tokenizers, measure them, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--texts", nargs="+", required=True, help="NAME=FILE or NAME=FILE:FIELD")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--max_texts", type=int, default=5000)
    parser.add_argument("--original", help="SentencePiece model of the original repository")
    options = parser.parse_args()
    texts = {name: read(path, options.max_texts) for name, path in (one.split("=", 1) for one in options.texts)}
    jieba = segmenter()
    edges = {name: [word_boundaries(jieba, text) for text in some] for name, some in texts.items()}
    cutters = make(options.corpus, options.work, options.original)
    results: dict[str, Any] = {
        "question": "tokens per character, unknowns, words torn, speed: ways to add domain words",
        "corpus": {Path(path).name: one for path, one in files.fingerprint(options.corpus).items()},
        "documents": sum(1 for _ in files.read_documents(options.corpus)),
        "checks": checks(options.work / "ours", options.work / "base", texts),
        "characters": {name: sum(map(len, some)) for name, some in texts.items()},
        "notes": NOTES + ([] if options.original else ["the original's own words: no --original given, skipped"]),
        "machine": runtime.machine(),
        "versions": runtime.versions(),
    }
    table: dict[str, Any] = {}
    for label, cutter in cutters.items():
        rows = {name: measure(cutter, some, edges[name]) for name, some in texts.items()}
        table[label] = rows | {"chars_per_cpu_second": speed(cutter, next(iter(texts.values())))}
        print(label, {name: row["tokens_per_char"] for name, row in rows.items()}, flush=True)
    results |= {"tokenizers": table, "worse_than_plain": worse_than_plain(table, list(texts))}
    files.write_json(Path(__file__).parent / "results" / "domain_words.json", results)
    print(json.dumps({"worse_than_plain": results["worse_than_plain"], "checks": results["checks"]}, indent=1))


NOTES = [
    "base: 21,128 tokens at most, learnt from the corpus (characters, Latin and digit pieces), not bert-base-chinese",
    "wobert and viterbi: 13,804 words; wobert's are the jieba words that save most in 30,000 documents",
]


def read(path: str, limit: int) -> list[str]:
    """Return the first texts of FILE or FILE:FIELD."""
    path, _, field = path.partition(":")
    found = []
    for row in files.read_documents([path], field or "text"):
        found.append(row.values[field or "text"])
        if len(found) == limit:
            break
    return found


def make(corpus: list[str], work: Path, original: str | None) -> dict[str, Cutter]:
    """Return all tokenizers by name; what `work` holds already is taken from there."""
    texts = [row.values["text"] for row in files.read_documents(corpus)]
    if not (work / "base").exists():
        train_base(unigram.sentences(texts), 21128).save_pretrained(work / "base")
    train.main(["--corpus", *corpus, "--base_tokenizer", str(work / "base"), "--output_dir", str(work / "ours")])
    base = AutoTokenizer.from_pretrained(work / "base")
    model = (work / "ours" / "unigram.model").read_bytes()
    words = [row.values["word"] for row in files.read_rows(work / "ours" / "words.csv")]
    encoded = matching.encode(texts)
    plain = plain_ranking(encoded, [word for word in unigram.proposed_words(model) if word not in base.get_vocab()])
    extend_tokenizer(base, plain[: SIZES[0]]).save_pretrained(work / "plain")
    cutters = {"base": of_huggingface(base)}
    for size in SIZES:
        cutters[f"plain_{size}"] = of_huggingface(extend_tokenizer(base, plain[:size]))
        cutters[f"ours_{size}"] = of_huggingface(extend_tokenizer(base, words[:size]))
    if original:
        own = [word for word in unigram.proposed_words(Path(original).read_bytes()) if word not in base.get_vocab()]
        cutters[f"original_{SIZES[0]}"] = of_huggingface(extend_tokenizer(base, own[: SIZES[0]]))
    cutters["sentencepiece"] = of_sentencepiece(str(work / "ours" / "unigram.model"))
    cutters["viterbi"] = viterbi(base, encoded, words[: SIZES[0]])
    cutters["wobert"] = wobert(base, texts)
    return cutters


def plain_ranking(text: matching.Text, words: list[str]) -> list[str]:
    """Return words by raw occurrences × (length − 1), best first, rare ones out."""
    occurrences = matching.find(text, words)
    counts = occurrences.counts()
    order = np.argsort(-counts * (occurrences.lengths - 1), kind="stable")
    return [words[number] for number in order if counts[number] >= MIN_COUNT]


def wobert(base: Any, texts: list[str]) -> Cutter:
    """Return WoBERT's way: jieba's words, each a token if it is in the vocabulary, else cut by the base tokenizer."""
    jieba = segmenter()
    counts: Counter[str] = Counter()
    for text in texts[:WOBERT_DOCUMENTS]:
        counts.update(jieba.cut(text))
    known = {word: n * (len(word) - 1) for word, n in counts.items() if n >= MIN_COUNT and unigram.WORD.fullmatch(word)}
    best = sorted(known, key=lambda word: (-known[word], word))[: SIZES[0]]
    numbers = {word: len(base) + number for number, word in enumerate(best)}

    def pieces(text: str) -> list[tuple[int, int, int]]:
        """Return (id, begin, end) of each token."""
        found, rest, place = [], 0, 0
        for word in [*jieba.cut(text), None]:
            if word is None or word in numbers:
                part = base(text[rest:place], add_special_tokens=False, return_offsets_mapping=True)
                spans = zip(part["input_ids"], part["offset_mapping"], strict=True)
                found += [(number, rest + begin, rest + end) for number, (begin, end) in spans]
                if word is not None:
                    found.append((numbers[word], place, place + len(word)))
                    rest = place + len(word)
            place += len(word or "")
        return found

    return Cutter(
        ids=lambda some: [[number for number, _, _ in pieces(text)] for text in some],
        spans=lambda some: [[(begin, end) for _, begin, end in pieces(text)] for text in some],
        unknown=base.unk_token_id,
        size=len(base) + len(best),
    )


def viterbi(base: Any, text: matching.Text, words: list[str]) -> Cutter:
    """Return a unigram model of the base's tokens and the words, cut by its likeliest path instead of longest match."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    occurrences = matching.find(text, words)
    places, found = matching.take(occurrences, np.ones(len(words), bool))
    counts = np.bincount(found, minlength=len(words)) + 1
    codes = np.bincount(text.codes, minlength=2**16)
    total = len(text.codes)
    plain = sorted({token.removeprefix("##") for token in base.get_vocab() if token not in base.all_special_tokens})
    entries = [("[UNK]", 0.0)]
    for token in plain:
        count = codes[ord(token)] if len(token) == 1 and ord(token) < 2**16 else 50
        entries.append((token, math.log((int(count) + 1) / total)))
    entries += [(word, math.log(int(count) / total)) for word, count in zip(words, counts, strict=True)]
    tokenizer = Tokenizer(models.Unigram(entries, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=False, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()]
    )
    return Cutter(
        ids=lambda some: [one.ids for one in tokenizer.encode_batch(some)],
        spans=lambda some: [one.offsets for one in tokenizer.encode_batch(some)],
        unknown=0,
        size=len(entries),
    )


def speed(cutter: Cutter, texts: list[str]) -> int:
    """Return characters per CPU-second of encoding, the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for start in range(0, len(texts), 1000):
            cutter.ids(texts[start : start + 1000])
        found.append(sum(map(len, texts)) / (time.process_time() - started))
    return round(statistics.median(found))


def worse_than_plain(table: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Return by how many tokens per character ours is worse than the plain ranking, where it is."""
    return {
        f"{name}, {size} words": round(ours - plain, 4)
        for size in SIZES
        for name in names
        if (ours := table[f"ours_{size}"][name]["tokens_per_char"])
        > (plain := table[f"plain_{size}"][name]["tokens_per_char"])
    }


def checks(folder: Path, base_folder: Path, texts: dict[str, list[str]]) -> dict[str, Any]:
    """Return what else is promised of the tokenizer: loading, marks, offsets, decoding back."""
    loads = []
    for _ in range(5):
        started = time.process_time()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        loads.append(time.process_time() - started)
    base = AutoTokenizer.from_pretrained(base_folder)
    normal = base.backend_tokenizer.normalizer.normalize_str
    some = [text for group in texts.values() for text in group[:1000]]
    encoded = tokenizer(some, add_special_tokens=False, return_offsets_mapping=True)
    gaps = back = exact = known = 0
    for text, ids, spans in zip(some, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        covered = "".join(text[begin:end] for begin, end in spans)
        gaps += "".join(covered.split()) != "".join(text.split())
        if tokenizer.unk_token_id not in ids:
            known += 1
            decoded = tokenizer.decode(ids)
            back += "".join(decoded.split()) == "".join(normal(text).split())
            exact += decoded == text.lower()
    return {
        "load_cpu_seconds": round(statistics.median(loads), 3),
        "unknown_marks": [mark for mark in MARKS if tokenizer.unk_token_id in tokenizer(mark)["input_ids"]],
        "texts": len(some),
        "texts_with_characters_outside_all_offsets": gaps,
        "texts_without_unknowns": known,
        "decoded_to_the_normalised_text_blanks_aside": back,
        "decoded_to_the_lower_case_text_exactly": exact,
    }


if __name__ == "__main__":
    main()
