"""What docs/performance.md says of each results file: a question, its answer in numbers, the bars that show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = tuple[str, ...]


@dataclass
class Section:
    """A question, its answer in numbers, and the bars that show it."""

    title: str
    text: str
    head: Row
    rows: list[Row]
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit: str = ""


def cores(machine: dict[str, Any]) -> str:
    """Return a machine's cores in words."""
    return f"{machine['cores']} core" + ("s" if machine["cores"] != 1 else "")


def card(found: dict[str, Any]) -> str:
    """Return the GPU of an entry, after a comma; nothing for a CPU."""
    name = found["machine"]["accelerator"]
    return f", {name}" if name else ""


def medians(rounds: int) -> str:
    """Return a sentence that says how often each arm was measured, after a blank."""
    return f" Medians of {rounds} rounds." if rounds > 1 else " One round."


def rounds_of(entry: dict[str, Any], arm: str) -> str:
    """Return how often an arm of an entry was measured."""
    rounds = entry["rounds"]
    return str(rounds[arm] if isinstance(rounds, dict) else rounds)


def corpus(found: dict[str, Any]) -> Section:
    """Steps of `corpus prepare`, and near duplicates beside the peers."""
    rates = {name.replace("_", " "): rate for name, rate in found["mb_per_cpu_second"].items()}
    peers = {name: found[name]["mb_per_cpu_second"] for name in ("datatrove", "text_dedup") if name in found}
    rows = [(name, f"{rate:,.1f}") for name, rate in rates.items()]
    rows += [(f"near duplicates by {name}", f"{rate:.2f}") for name, rate in peers.items()]
    text = f"{found['documents']:,} documents, {found['megabytes']} MB, one process." + medians(found["runs"])
    text += f" `decontaminate`, a part of `all`: against texts cut out of {min(2_000, found['documents']):,} of these "
    text += "documents, which are hits."
    if "text_dedup" in peers:
        text += " text_dedup is a command: its start, over a second, counts."
    bars = {"near duplicates": {"finbert2": rates["near duplicates"]} | peers}
    unit = "MB per CPU-second"
    return Section("Corpus: megabytes a CPU-second", text, ("step", unit), rows, bars, unit)


def memory(found: dict[str, Any]) -> Section:
    """A corpus of gigabytes."""
    size = found["input"]["bytes"] / 1e9
    row = (f"{size:.1f} GB", f"{found['input']['documents']:,}", f"{found['peak_rss_gib_of_all_processes']} GiB",
           f"{found['wall_seconds']:,.0f}", f"{found['num_proc']}")  # fmt: skip
    head = ("input", "documents", "memory of all processes at the peak", "seconds by the clock", "processes at work")
    return Section("Corpus: memory", "Resident memory of the command and its processes, twice a second.", head, [row])


def words(found: dict[str, Any]) -> Section:
    """Tokens a character, tokenizer beside tokenizer."""
    first = next(iter(found["characters"]))
    rows = [
        (name, f"{one[first]['tokens_per_char']:.3f}", f"{one['chars_per_cpu_second']:,.0f}")
        for name, one in found["tokenizers"].items()
    ]
    bars = {name: {"tokens per character": one[first]["tokens_per_char"]} for name, one in found["tokenizers"].items()}
    head = ("tokenizer", f"tokens per character, {first}", "characters per CPU-second")
    return Section("Tokenizer: fewer tokens for the same text", "Held-out text of the corpus's kind.", head, rows, bars,
                   "tokens per character")  # fmt: skip


def collator(found: dict[str, Any]) -> Section:
    """Examples a loader process makes."""
    rates = {
        name: rate
        for name, rate in found["examples_per_cpu_second"].items()
        if "fill" not in name and "mean" not in name
    }
    rows = [(name, f"{rate:,.0f}") for name, rate in rates.items()]
    return Section("Pretraining: batches of masked tokens", "Examples of 512 tokens a CPU-second of one process.",
                   ("way", "examples per CPU-second"), rows,
                   {name: {"examples": rate} for name, rate in rates.items()}, "examples per CPU-second")  # fmt: skip


def step(found: dict[str, Any]) -> Section:
    """What a training step costs by ours, by the peers, and with each technique switched off."""
    ours = found["tables"]["base"]["arms"]["ours"]["characters_per_cpu_second"]
    on_gpu = found["machine"]["accelerator"] is not None
    unit, rate_of = ("second", "tokens_per_second") if on_gpu else ("CPU-second", "tokens_per_cpu_second")
    rows, bars = [], {}
    for words_of, table in found["tables"].items():
        for name, arm in table["arms"].items():
            label = name.replace("_", " ") + (", domain words" if words_of == "domain" else "")
            characters = arm["characters_per_cpu_second"]
            ratio = found["ratios"].get(f"ours / {name}", 1.0) if words_of == "base" else ours / characters
            last = f"{arm['mfu']:.1%}" if on_gpu else f"{characters:,.0f}"
            rows.append((label, f"{arm[rate_of]:,.0f}", last, f"{ratio:.2f}"))
            bars[label] = {"tokens": arm[rate_of]} if on_gpu else {"characters": characters}
    layers, width, _, documents = found["shape"]
    precision = "bf16" if found["bf16"] else "fp32: the processor has no bf16"
    if found["bf16"] and "original" in found["tables"]["base"]["arms"]:
        precision += " (`original` and arms that say so: fp32)"
    text = (
        f"BERT of {layers} layers × {width}, {documents} short news a step, {precision}. "
        "`original`: random padded batches and all logits. `stock`: length-grouped batches, fused AdamW. `ours …`: one "
        "technique switched off."
    )
    times = {len(arm["rounds"]) for table in found["tables"].values() for arm in table["arms"].values()
             if "rounds" in arm}  # fmt: skip
    text += medians(min(times)) if times else ""
    if "domain" in found["tables"]:
        text += " With domain words a text has fewer tokens: the ratio of that row is of characters."
    last = "MFU" if on_gpu else "characters per CPU-second"
    head = ("arm", f"real tokens per {unit}", last, "ours is so many times as fast")
    title = f"Pretraining: a step, {layers} × {width}{card(found)}"
    return Section(title, text, head, rows, bars, "tokens per second" if on_gpu else "characters per CPU-second")


def encoders(found: dict[str, dict[str, Any]]) -> Section:
    """How the encoders of the study were made."""
    rows = [
        (name, f"{one['layers']} × {one['width']}", one["machine"]["accelerator"] or cores(one["machine"]),
         f"{one['steps']:,}", f"{one['tokens_seen'] / 1e6:.1f} M", f"{one['seconds']:.0f}",
         f"{one['tokens_per_second']:,.0f}", f"{one['mfu']:.1%}" if one.get("mfu") else "–",
         f"{one['valid_loss_per_char']:.3f}")
        for name, one in found.items()
    ]  # fmt: skip
    head = ("encoder", "shape", "on", "steps", "tokens seen", "seconds", "tokens per second", "MFU", "held-out loss")
    text = (
        "Seconds from start to end: reading, tokenising, training, evaluation; tokens per second and MFU are of the "
        "training alone. The loss is a character's, at 15 % masks."
    )
    return Section("Pretraining: the study's encoders", text, head, rows)


def bought(found: dict[str, Any]) -> Section:
    """What the same time of training buys."""
    rows, bars = [], {}
    for name, arm in found["arms"].items():
        losses = [arm["held_out"][masks]["loss_per_char"] for masks in ("whole words", "single tokens")]
        rows.append((name, f"{arm['steps']:,}", f"{arm['tokens']:,}", *(f"{loss:.3f}" for loss in losses)))
        bars[name] = {"whole words": losses[0]}
    text = f"{found['cpu_seconds_an_arm']:.0f} CPU-seconds an arm, the same model and seed. Held-out loss a character."
    head = ("arm", "steps", "tokens", "loss, whole words masked", "loss, single tokens masked")
    return Section("Pretraining: what the same time buys", text, head, rows, bars, "held-out loss per character")


def inference(found: dict[str, Any]) -> Section:
    """Labelling long texts."""
    speed = found["speed"]
    seconds = speed["median_cpu_seconds"]
    rows = [
        (name.replace("_", " "), f"{value:.1f}", *(f"{ratios[name]:.2f}" for ratios in speed["times"].values()))
        for name, value in seconds.items()
    ]
    text = (
        f"{speed['texts']} texts of SC_2's lengths (median {speed['median_characters']:.0f} characters), BERT-base, "
        f"{speed['threads']} threads. `original`: padded batches of 32, two forwards each. "
        "`ours torch` is in bf16 where the processor has it, original and `pipeline` in fp32."
        + medians(min(map(len, speed["cpu_seconds"].values())))
    )
    head = ("way", "CPU-seconds", *(f"times as fast as {peer.replace('_', ' ')}" for peer in speed["times"]))
    bars = {name.replace("_", " "): {"CPU-seconds": value} for name, value in seconds.items()}
    return Section("Labeler: inference", text, head, rows, bars, "CPU-seconds")


def inference_gpu(found: dict[str, Any]) -> Section:
    """Labelling long texts on a GPU."""
    rates, same = found["texts_per_second"], found["labels_equal_to_the_originals"]
    rows = [
        (name.replace("_", " "), f"{rate:,.0f}", f"{found['memory_beside_weights_gib'][name]:.2f}", f"{same[name]:,}")
        for name, rate in rates.items()
    ]
    text = (
        f"{found['texts']:,} texts of SC_2's lengths (median {found['median_characters']:.0f} characters), BERT-base, "
        f"strings to labels. `original`: padded batches of 32, two forwards each, fp32; the others in bf16: `pipeline` "
        f"in batches of {found['pipeline_batch']}, `trainer` in batches of {found['trainer_batch']} sorted by length, "
        "ours at two token budgets a batch." + medians(min(map(len, found["seconds"].values())))
    )
    head = ("way", "texts per second", "GiB beside the weights", "labels equal to the original's")
    bars = {name.replace("_", " "): {"texts": rate} for name, rate in rates.items()}
    return Section(f"Labeler: inference{card(found)}", text, head, rows, bars, "texts per second")


def stream(found: dict[str, Any]) -> Section:
    """Labelling many rows."""
    rows = [
        (f"{int(count):,}", f"{one['rows_per_cpu_second']:,.0f}", f"{one['peak_memory_gib']} GiB")
        for count, one in found["rows"].items()
    ]
    return Section("Labeler: memory of many rows", "Titles through a small model, from one file to one file.",
                   ("rows", "rows per CPU-second", "memory at the peak"), rows)  # fmt: skip


def tuning(found: list[dict[str, Any]]) -> Section:
    """Fine-tuning beside transformers' Trainer."""
    rows, bars = [], {}
    for one in found:
        setting = f"{one['shape']}, {one['task']}, {one['batch']} rows, {one['precision']}{card(one)}"
        for arm, value in one["arms"].items():
            ratio = f"{one['ours_over']:.2f}" if arm != "ours" else "–"
            memory_gib = f"{value['peak_memory_gib']:.2f}"
            rows.append((setting, arm, rounds_of(one, arm), f"{value['rows_per_second']:.1f}", memory_gib, ratio))
            bars.setdefault(setting, {})[arm] = value["rows_per_second"] / one["arms"]["ours"]["rows_per_second"]
    text = "Same batches and weights; transformers' Trainer with batches grouped by length, padded to a multiple of 8."
    head = ("model, task, batch", "arm", "rounds", "rows per second", "peak GiB", "ours is so many times as fast")
    return Section("Labeler: training", text, head, rows, bars, "rows per second, ours = 1")


def training(found: list[dict[str, Any]]) -> Section:
    """Contrastive training beside the peers."""
    rows, bars = [], {}
    for one in found:
        setting = f"{one['shape']}, {one['queries']} × {one['group']}, {one['precision']}{card(one)}"
        ours = one["arms"].get("ours", one["arms"]["ours_gradcache"])["rows_per_second"]
        for arm, value in one["arms"].items():
            ratio = one["ours_over"].get(arm)
            memory_gib = value.get("peak_memory_gib")
            rows.append((setting, arm.replace("_", " "), rounds_of(one, arm), f"{value['rows_per_second']:.3g}",
                         "–" if memory_gib is None else f"{memory_gib:.2f}",
                         "–" if ratio is None else f"{ratio:.2f}"))  # fmt: skip
            bars.setdefault(setting, {})[arm.replace("_", " ")] = value["rows_per_second"] / ours
    head = ("model, queries × group", "arm", "rounds", "rows per second", "peak GiB", "ours is so many times as fast")
    text = "Same batch, weights and loss in all arms."
    if any(reason.startswith("not run") for one in found for reason in one["left_out"].values()):
        text += " Where the time on a machine ended before all arms had run, the entry was put together from the lines "
        text += "of those that had ([retriever.md](retriever.md))."
    return Section("Retriever: training", text, head, rows, bars, "rows per second, ours = 1")


def encoding(found: list[dict[str, Any]]) -> Section:
    """Encoding passages beside sentence-transformers."""
    rows, bars = [], {}
    for one in found:
        for arm, value in one["arms"].items():
            ratio = one["over_sentence_transformers"].get(arm)
            score = value.get("ndcg@10")
            rate = value["texts_per_second" if card(one) else "texts_per_cpu_second"]
            rows.append((f"{one['passages']:,} of {one['data']}, {one['model']}{card(one)}", arm.replace("_", " "),
                         rounds_of(one, arm), f"{rate:.1f}", "–" if ratio is None else f"{ratio:.2f}",
                         f"{value['least_cosine']:.5f}", "–" if score is None else f"{score:.4f}"))  # fmt: skip
            bars.setdefault(one["data"] + card(one), {})[arm.replace("_", " ")] = rate
    head = ("passages", "arm", "rounds", "texts per CPU-second (GPU: second)",
            "over sentence-transformers at its best batch size", "least cosine", "nDCG@10")  # fmt: skip
    text = "sentence-transformers is in fp32 where its arm does not say bf16. Ours in fp32 is held against that alone."
    return Section("Retriever: encoding", text, head, rows, bars, "texts per CPU-second")


def mining(found: dict[str, Any]) -> Section:
    """False negatives let through."""
    arms = found["arms"].items()
    rows = [(arm.replace("_", " "), f"{one['slipped']:.2%}", f"{one['true_negatives_kept']:.2%}") for arm, one in arms]
    text = f"{found['queries']:,} queries of {found['data']}, two paraphrases of each positive planted."
    head = ("rule", "planted paraphrases that slip through", "true negatives kept")
    bars = {arm.replace("_", " "): {"share": one["slipped"]} for arm, one in arms}
    return Section("Retriever: mining", text, head, rows, bars, head[1])


def vectors(found: dict[str, Any]) -> Section:
    """The vector store at growing sizes."""
    names = list(found["sizes"][0])
    rows = [
        tuple(f"{one[name]:,.4g}" if name != "size" else f"{one[name]:,}" for name in names) for one in found["sizes"]
    ]
    text = f"{found['kind']}, vectors of {found['width']}."
    return Section("Retriever: the vector store", text, tuple(name.replace("_", " ") for name in names), rows)


def topics(found: dict[str, Any]) -> Section:
    """What topics cost, beside the original and as titles grow."""
    forms = {"peak_memory_gib": ".2f", "coverage": ".3f"}
    rows = [
        (name, f"{one['cpu_seconds']:,.1f}" + (", then given up" if one.get("given_up") else ""),
         *(format(one[key], form) if key in one else "–" for key, form in forms.items()))
        for name, one in found["rows"].items()
    ]  # fmt: skip
    ratios = ", ".join(f"{part}: {ratio} times as fast as the original" for part, ratio in found["ratios"].items())
    text = "One thread, vectors given. " + (f"{ratios}." if ratios else "")
    bars = {name: {"CPU-seconds": one["cpu_seconds"]} for name, one in found["rows"].items()}
    return Section("Topics: cost", text, ("step", "CPU-seconds", "peak GiB", "coverage"), rows, bars, "CPU-seconds")


SECTIONS: dict[str, Callable[[Any], Section]] = {
    "corpus_throughput": corpus, "corpus_memory": memory, "domain_words": words, "collator": collator,
    "pretrain_step_small_cpu": step, "pretrain_step_base_cpu": step, "pretrain_step_base_cuda": step,
    "domain_pretraining": encoders, "pretrain_quality": bought, "labeler_train": tuning,
    "labeler_inference": inference, "labeler_inference_gpu": inference_gpu, "labeler_stream": stream,
    "retriever_train": training, "retriever_encode": encoding, "retriever_mine": mining, "vector_store": vectors,
    "topics_cost": topics,
}  # fmt: skip
