"""The map of titles: two dimensions, a colour a topic, the largest topics named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finbert2 import plots

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

NAMED = 24
PROBE = "银证券股债"  # a font that lacks one of these draws boxes


def topic_map(
    points: "np.ndarray", labels: "np.ndarray", names: Sequence[str], family: Sequence[str] = tuple(plots.FONTS)
) -> "Figure":
    """Draw points (titles, 2): noise grey, each topic in a colour, a name at the median of the largest ones."""
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
    style: dict[str, Any] = {
        "fontsize": 8,
        "ha": "center",
        "va": "center",
        "bbox": ground,
        "in_layout": False,
        "family": list(family),
    }
    for topic in range(min(NAMED, len(names))):
        if (labels == topic).any():
            x, y = np.median(points[labels == topic], axis=0)
            axes.text(x, y, names[topic], **style)
    return fig


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
