"""Topics of topics: centres that are near are joined step by step, words from the stored counts, no text read again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

    from finbert2.topics.model import TopicModel

COLUMNS = ("node", "left", "right", "distance", "size", "words", "topics")  # of `hierarchy.csv`


@dataclass(frozen=True)
class Node:
    """A topic (a leaf) or the join of two nodes; the leaves have the topics' numbers, joins count on from there."""

    node: int
    children: tuple[int, int] | None
    topics: tuple[int, ...]
    size: int
    distance: float  # cosine distance at which the children joined; 0 for a leaf
    words: list[str]


def grow(model: "TopicModel") -> list[Node]:
    """Return all nodes, leaves first, the root last: average linkage by the cosine distance of the centres."""
    import numpy as np
    from scipy.cluster.hierarchy import linkage
    from scipy.sparse import csr_matrix
    from scipy.spatial.distance import pdist

    nodes = [Node(t.topic, None, (t.topic,), t.size, 0.0, t.words) for t in model.topics]
    if len(nodes) < 2:
        return nodes
    joins = linkage(np.maximum(pdist(model.centres, "cosine"), 0), "average")
    for left, right, distance, _ in joins.tolist():
        pair = nodes[int(left)], nodes[int(right)]
        topics = tuple(sorted(pair[0].topics + pair[1].topics))
        size = pair[0].size + pair[1].size
        nodes.append(Node(len(nodes), (pair[0].node, pair[1].node), topics, size, distance, []))
    joined = nodes[len(model.topics) :]
    place = [(row, topic) for row, node in enumerate(joined) for topic in node.topics]
    rows, columns = zip(*place, strict=True)
    members = csr_matrix((np.ones(len(place)), (rows, columns)), shape=(len(joined), len(model.topics)))
    words = node_words(model.word_counts, members, model.vocabulary)
    named = [Node(**vars(node) | {"words": best}) for node, best in zip(joined, words, strict=True)]
    return nodes[: len(model.topics)] + named


def node_words(counts: "csr_matrix", members: "csr_matrix", vocabulary: Sequence[str]) -> list[list[str]]:
    """Return the best words of sums of topics (joins, topics): shares of the sum, weighed as among the topics."""
    from finbert2.topics.counts import class_tfidf, top_words

    return top_words(class_tfidf(members @ counts, among=counts), list(vocabulary), 6)


def cut(nodes: Sequence[Node], number: int) -> "np.ndarray":
    """Return for each topic the number of its branch when the tree is cut into `number` branches, largest first."""
    import numpy as np

    leaves = sum(node.children is None for node in nodes)
    open_nodes = {nodes[-1].node}
    while len(open_nodes) < min(number, leaves):
        widest = max((n for n in open_nodes if nodes[n].children), key=lambda n: nodes[n].distance)
        open_nodes = (open_nodes - {widest}) | set(nodes[widest].children or ())
    labels = np.empty(leaves, dtype=np.int64)
    for rank, node in enumerate(sorted(open_nodes, key=lambda n: (-nodes[n].size, n))):
        labels[list(nodes[node].topics)] = rank
    return labels


def layers(nodes: Sequence[Node]) -> list["np.ndarray"]:
    """Return the topics' branches at a half, a quarter, … of their number, down to four: the coarser layers."""
    number, found = sum(node.children is None for node in nodes) // 2, []
    while number >= 4:
        found.append(cut(nodes, number))
        number //= 2
    return found


def node_rows(nodes: Sequence[Node]) -> Iterator[dict[str, Any]]:
    """Yield the joins as rows of `hierarchy.csv`."""
    for node in nodes:
        if node.children:
            yield {
                "node": node.node, "left": node.children[0], "right": node.children[1],
                "distance": round(node.distance, 4), "size": node.size, "words": " ".join(node.words),
                "topics": " ".join(map(str, node.topics)),
            }  # fmt: skip


def tree_text(nodes: Sequence[Node], names: Sequence[str]) -> str:
    """Return the tree as indented lines, drawn without recursion: a tree may be as deep as there are topics."""
    lines, waiting = [], [(nodes[-1].node, "", "")]
    while waiting:
        number, before, branch = waiting.pop()
        node = nodes[number]
        text = f"{number} {names[number]}" if node.children is None else " ".join(node.words[:4])
        lines.append(f"{before}{branch}{text} ({node.size})")
        if node.children:
            below = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
            larger, smaller = sorted(node.children, key=lambda child: -nodes[child].size)
            waiting += [(smaller, below, "└─ "), (larger, below, "├─ ")]
    return "\n".join(lines) + "\n"
