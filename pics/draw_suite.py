"""The picture of the suite for both READMEs: python pics/draw_suite.py writes suite.svg (Chinese) and suite_en.svg."""

from pathlib import Path
from xml.sax.saxutils import escape

BLUE, INK, GREY, PAPER = "#2a6fbb", "#24292f", "#6b7682", "#eef4fb"
FONTS = "PingFang SC, Microsoft YaHei, Noto Sans CJK SC, Source Han Sans SC, sans-serif"
WIDTH, HEIGHT = 1080, 344
BOX, TALL = 142, 92  # a stage's box
USES = 272  # the width of a box of those who use the encoder
# A stage: its name and what it does, in Chinese and in English, and its scripts.
Stage = tuple[tuple[str, str], tuple[str, str], str]
CHAIN: list[Stage] = [
    (("原始文本", "Raw text"), ("研报、公告、新闻", "reports, filings, news"), "TXT · CSV · JSONL"),
    (("语料", "Corpus"), ("清洗、过滤、去重", "clean, filter, dedup"), "prepare_corpus.sh"),
    (("词表", "Tokenizer"), ("加入领域词", "add domain words"), "spm.sh"),
    (("预训练", "Pretraining"), ("MLM、RetroMAE", "MLM, RetroMAE"), "run_mlm.sh · run_retromae.sh"),
]
FOLDERS = ["", "JSONL", "tokenizer", "encoder"]  # what lies on the disk between a stage and the next
ENDS: list[Stage] = [
    (("Fin-labeler", "Fin-labeler"), ("分类、实体识别、预测", "classes, entities, prediction"),
     "runclassify.sh · runner.sh · predict.sh"),
    (("Fin-retriever", "Fin-retriever"),
     ("难负例、对比学习、评测、检索", "hard negatives, training, evaluation, search"),
     "hn_mine.sh · contrastive_finetune.sh · search.sh"),
    (("Fin-Topicmodel", "Fin-Topicmodel"), ("标题 → 主题、主题词、地图", "titles → topics, their words, a map"),
     "run_topics.sh"),
]  # fmt: skip
FOOT = (
    "阶段之间只有磁盘上的文件夹，每个阶段都可以单独使用；sh quickstart.sh 在 CPU 上小规模走完全部阶段",
    "Stages meet only in folders on the disk, each can be used alone; sh quickstart.sh runs them all, small, on a CPU",
)


def text(x: float, y: float, words: str, size: int, colour: str = INK, weight: int = 400) -> str:
    """Return a centred line."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" font-weight="{weight}" '
        f'text-anchor="middle">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, stage: Stage, language: int, fill: str) -> list[str]:
    """Return a stage's box: name, what it does, scripts."""
    name, does, scripts = stage
    middle, small = x + width / 2, 9 if len(scripts) > 24 and width == BOX else 10
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{TALL}" rx="8" fill="{fill}" stroke="{BLUE}"/>',
        text(middle, y + 28, name[language], 17, BLUE, 600),
        text(middle, y + 52, does[language], 13),
        text(middle, y + 76, scripts, small, GREY),
    ]


def arrow(x: float, y: float, to_x: float, to_y: float, words: str = "") -> list[str]:
    """Return an arrow with what lies on the disk above it."""
    bend = (x + to_x) / 2
    path = f'<path d="M{x:g} {y:g} C{bend:g} {y:g} {bend:g} {to_y:g} {to_x - 7:g} {to_y:g}"'
    line = f'{path} fill="none" stroke="{GREY}" stroke-width="1.5" marker-end="url(#head)"/>'
    return [line, text((x + to_x) / 2, y - 8, words, 10, GREY)] if words else [line]


def picture(language: int) -> str:
    """Return the SVG; `language` 0 is Chinese, 1 English."""
    gap, stem, top = 44, 50, 14  # the stem leads from the encoder to where its uses part
    middle = top + 1.5 * TALL + 10  # of the three boxes at the right, 10 apart
    parts = []
    for place, stage in enumerate(CHAIN):
        x = 8 + place * (BOX + gap)
        parts += box(x, middle - TALL / 2, BOX, stage, language, PAPER if place else "#ffffff")
        if place:
            parts += arrow(x - gap, middle, x, middle, FOLDERS[place - 1])
    end = 8 + len(CHAIN) * (BOX + gap) - gap
    parts.append(f'<path d="M{end} {middle:g} H{end + stem}" stroke="{GREY}" stroke-width="1.5"/>')
    parts.append(text(end + stem / 2, middle - 8, FOLDERS[-1], 10, GREY))
    for place, stage in enumerate(ENDS):
        y = top + place * (TALL + 10)
        parts += box(WIDTH - USES - 8, y, USES, stage, language, PAPER)
        parts += arrow(end + stem, middle, WIDTH - USES - 8, y + TALL / 2)
    parts.append(text(WIDTH / 2, HEIGHT - 10, FOOT[language], 12, GREY))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{FONTS}">'
        f'<defs><marker id="head" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{GREY}"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Write both pictures beside this file."""
    for language, name in enumerate(("suite.svg", "suite_en.svg")):
        Path(__file__).with_name(name).write_text(picture(language), encoding="utf-8")


if __name__ == "__main__":
    main()
