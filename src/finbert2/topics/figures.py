"""The map of titles: two dimensions, a colour a topic, the largest topics named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finbert2 import plots

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

NAMED, FONT = 24, 8
EMPTY = 0.05  # the widest band without a title, as a share of where nearly all titles lie
LATIN = 0x2E7F  # above it characters are as wide as high
PROBE = "银证券股债"  # a font that lacks one of these draws boxes


def narrowed(points: "np.ndarray") -> "np.ndarray":
    """Return a layout (titles, 2) with its empty bands narrowed: a few titles far away would take most of the picture.

    How far apart UMAP lays groups that share no neighbours means nothing; order and what lies together stay.
    """
    import numpy as np

    moved = np.empty_like(points)
    for axis in range(2):
        order = np.argsort(points[:, axis], kind="stable")
        values = points[order, axis]
        low, high = np.quantile(values, (0.02, 0.98))
        steps = np.minimum(np.diff(values), EMPTY * (high - low)) if high > low else np.diff(values)
        moved[order, axis] = values[0] + np.concatenate([[0], np.cumsum(steps)])
    return moved


def topic_map(
    points: "np.ndarray", labels: "np.ndarray", names: Sequence[str], family: Sequence[str] = tuple(plots.FONTS)
) -> "Figure":
    """Draw points (titles, 2): noise grey, each topic in a colour, a name at the median of the largest ones.

    Names that find no room beside those of larger topics are left out.
    """
    import numpy as np
    from matplotlib import colormaps

    fig = plots.figure(9.6, 7.2)
    axes = fig.add_subplot()
    axes.set_axis_off()
    palette = colormaps["tab20"](np.arange(20))
    colours = np.where(labels[:, None] >= 0, palette[labels % 20], (0.85, 0.87, 0.89, 1.0))
    order = np.argsort(labels >= 0, kind="stable")  # noise first: below the rest
    # The dots become one picture inside the SVG. The names stay text: an outline would turn them into shapes of the
    # font that drew them, and without a Chinese one into boxes.
    axes.scatter(points[order, 0], points[order, 1], c=colours[order], s=5, linewidths=0, rasterized=True)
    ground = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
    style: dict[str, Any] = {"fontsize": FONT, "ha": "center", "va": "center", "bbox": ground, "in_layout": False}
    style["family"] = list(family)
    fig.draw_without_rendering()  # says where the dots will lie
    middles = [
        (names[topic], axes.transData.transform(np.median(points[labels == topic], axis=0)) * 72 / fig.dpi)
        for topic in range(min(NAMED, len(names)))
        if (labels == topic).any()
    ]
    width, height = fig.get_size_inches() * 72
    for *place, name in apart(middles, (width, height), FONT):
        x, y = axes.transData.inverted().transform(np.array(place) * fig.dpi / 72)
        axes.text(x, y, name, **style)
    return fig


def apart(
    names: Sequence[tuple[str, "np.ndarray"]], room: tuple[float, float], size: int
) -> list[tuple[float, float, str]]:
    """Return (x, y, name) for the names that find room: larger topics first, each moved up or down a little at most.

    `room` is width and height, `size` that of the letters, all in one unit; which font a viewer has is not known.
    """
    placed: list[tuple[float, float, float, str]] = []
    line = size + 2
    for name, (x, y) in names:
        half = size / 2 * sum(1 if ord(letter) > LATIN else 0.55 for letter in name)
        x = min(max(float(x), half), room[0] - half)
        for shift in (0, line, -line, 2 * line, -2 * line):
            height = min(max(float(y) + shift, size + 1), room[1] - 6)
            if all(abs(x - other[0]) > half + other[2] or abs(height - other[1]) >= line for other in placed):
                placed.append((x, height, half, name))
                break
    return [(round(x, 1), round(y, 1), name) for x, y, _, name in placed]


def chinese_font() -> str | None:
    """Return the name of a font on this machine that has Chinese characters, None if there is none.

    A PNG is drawn here, not by its viewer. Names that tell of a Chinese font come first, as reading every font's
    table of characters takes seconds; each is opened and checked.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    telling = ("cjk", "sc", "cn", "hei", "song", "ming", "kai", "fang", "wqy", "han", "gb", "uming", "ukai", "yahei")
    fonts = {entry.fname: entry.name for entry in font_manager.fontManager.ttflist}
    fonts |= {path: "" for path in font_manager.findSystemFonts() if path not in fonts}
    for path in sorted(fonts, key=lambda p: (not any(word in p.lower() for word in telling), p)):
        try:
            font = FT2Font(path)
        except (OSError, RuntimeError):  # a file that FreeType cannot read is no font for us
            continue
        # matplotlib's own "Last Resort" has every character, all of them the same box.
        glyphs = {font.get_char_index(ord(letter)) for letter in PROBE}
        if len(glyphs) == len(PROBE) and 0 not in glyphs:
            font_manager.fontManager.addfont(path)
            return str(font.family_name)
    return None
