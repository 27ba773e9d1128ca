import html.parser
import re

import numpy as np
import pytest

from finbert2.topics import cluster, figures, report, run

from .conftest import sample_rows


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A run with its page; titles hold characters that HTML would take for its own."""

    def project(vectors, dimensions, neighbors, seed, min_dist=0.0):
        left, scale, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        return (left * scale)[:, :dimensions]

    monkeypatch.setattr(cluster, "reduce", project)
    rows = [row | {"title": f"{row['title']}<b>&"} for row in sample_rows(120)]
    rows += [row | {"date": "2025-01-03"} for row in sample_rows(120, seed=7) if row["industry"] == "银行"]
    lines = ["title,date,industry", *(f"{row['title']},{row['date']},{row['industry']}" for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    flags = ["--titles", str(tmp_path / "t.csv"), "--output_dir", str(tmp_path / "o"), "--num_topics", "5"]
    run.main([*flags, "--lexical_weight", "1", "--bertopic", "false"])
    return tmp_path / "o"


class Reader(html.parser.HTMLParser):
    """Collects tags, ids and addresses, and checks that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids |= {value for name, value in attrs if name == "id"}
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing(finished):
    text = (finished / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and {"map", "topics", "tree", "trends", "heat", "quality", "settings"} <= reader.ids
    assert all(address.startswith(("#", "data:")) for address in reader.addresses) and "http" not in text
    assert reader.tags.count("circle") == len({row for row in re.findall(r"<circle.*?<title>(.*?)</title>", text)})
    assert "&lt;b&gt;&amp;" in text and "<b>&" not in text
    assert "clustered_dbcv" in text and "compat.silhouette" in text and "银行" in text and "coverage" in text


def test_markdown_and_png_beside_it(finished):
    lines = (finished / "topics.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 7 and lines[0].startswith("| topic | titles |") and lines[2].startswith("| 0 | ")
    if figures.chinese_font():
        assert (finished / "map.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_font_that_draws_all_characters_as_one_box_is_none(monkeypatch):
    """matplotlib's own last resort claims every character: the map was full of boxes."""
    from matplotlib import font_manager

    boxes = [entry for entry in font_manager.fontManager.ttflist if "LastResort" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", boxes)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    assert figures.chinese_font() is None


def test_without_a_chinese_font_the_png_is_left_out_and_that_is_told(tmp_path, monkeypatch, caplog):
    from types import SimpleNamespace

    from finbert2.topics import output
    from finbert2.topics.model import Topic

    monkeypatch.setattr(figures, "chinese_font", lambda: None)
    found = SimpleNamespace(model=SimpleNamespace(topics=[Topic(0, 2, ["银行"], [])]), labels=np.array([0, 0]))
    output.draw(tmp_path, found, report.Layout(np.array([0, 1]), np.array([[0.0, 0], [1, 1]])))
    assert (tmp_path / "map.svg").exists() and not (tmp_path / "map.png").exists()
    assert "no font of this machine has Chinese characters" in caplog.text


def test_empty_bands_of_the_map_are_narrowed():
    """A few titles far away do not take most of the picture; what lies together stays as it lay."""
    x = np.concatenate([np.linspace(0, 10, 101), [1000.0, 1000.2]])
    points = np.stack([x, np.linspace(0, 5, 103)], 1)
    moved = figures.narrowed(points)
    width = np.quantile(x, 0.98) - np.quantile(x, 0.02)
    assert np.allclose(moved[:101, 0], x[:101]) and np.allclose(moved[:, 1], points[:, 1])
    assert moved[101, 0] - moved[100, 0] == pytest.approx(0.05 * width)
    assert moved[102, 0] - moved[101, 0] == pytest.approx(0.2)
    assert np.array_equal(figures.narrowed(np.zeros((5, 2))), np.zeros((5, 2)))


def test_names_keep_apart_and_the_largest_stays_in_its_place():
    middle = np.array([300.0, 300.0])
    placed = figures.apart(
        [("银行信贷", middle), ("汽车销量", middle), ("煤炭", middle), ("x", np.array([0.0, 0.0]))], (900, 600), 13
    )
    assert placed[0] == (300.0, 300.0, "银行信贷") and placed[1][1] == 315.0 and placed[2][1] == 285.0
    assert placed[3][0] > 0 and placed[3][1] == 14


def test_a_line_from_zero_to_its_top():
    assert report.polyline([0.0, 2, 1]) == "1.0,25.0 60.0,1.0 119.0,13.0"
    assert report.polyline([0.0]) == "1.0,25.0"


def test_names_of_the_map_keep_apart():
    points = np.array([[0.0, 0.0], [0.001, 0.0], [1.0, 0.0], [1.0, 1.0]])
    fig = figures.topic_map(points, np.array([0, 1, 2, -1]), ["银行 信贷", "保险 保费", "煤炭 煤价"])
    texts = fig.axes[0].texts
    assert [text.get_text() for text in texts] == ["银行 信贷", "保险 保费", "煤炭 煤价"]
    first, second, third = (fig.axes[0].transData.transform(text.get_position()) * 72 / fig.dpi for text in texts)
    assert second[1] - first[1] == pytest.approx(10, abs=0.2) and third[1] == pytest.approx(first[1], abs=0.2)
