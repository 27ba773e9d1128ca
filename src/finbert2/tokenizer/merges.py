"""Merges of neighbouring pieces: how a WordPiece vocabulary grows out of counted words, the same way each time."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

CONTINUES = "##"  # before a piece that does not begin a word
MIN_FREQUENCY = 2
LONGEST_WORD = 100  # BERT's WordPiece takes longer ones for unknown, so no piece is learnt from them
Pair = tuple[int, int]  # of ids
Spelt = tuple[list[int], int]  # a word as ids, and how often it stands


def grow_vocab(vocab: Mapping[str, int], words: Mapping[str, int], size: int) -> dict[str, int]:
    """Return a vocabulary (piece → id) of all characters of counted words, grown to at most `size` pieces.

    The most frequent pair of neighbours becomes one piece, in all words, then the next (Sennrich et al. 2016,
    algorithm 1), until none stands `MIN_FREQUENCY` times. Of equally frequent pairs that of the lower ids is taken, as
    in the `tokenizers` library, where a randomly seeded hash table hands some of the ids out.
    """
    ids = dict(vocab)
    names = list(ids)
    spelt: list[Spelt] = [
        ([ids[piece] for piece in characters(word)], count)
        for word, count in words.items()
        if 1 < len(word) <= LONGEST_WORD
    ]
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, list[int]] = defaultdict(list)  # the words where a pair stands, or stood before a merge
    for number, (pieces, count) in enumerate(spelt):
        for pair in pairwise(pieces):
            counts[pair] += count
            places[pair].append(number)
    queue = [(-count, pair) for pair, count in counts.items() if count >= MIN_FREQUENCY]
    heapq.heapify(queue)
    while queue and len(ids) < size:
        negative, pair = heapq.heappop(queue)
        if counts[pair] != -negative:
            continue  # that was its count before other merges; it is in the queue with the present one too
        name = names[pair[0]] + names[pair[1]].removeprefix(CONTINUES)
        if name not in ids:  # abc is known if another pair, of ab and c, made it
            ids[name] = len(names)
            names.append(name)
        for changed, change in replace(pair, ids[name], spelt, places).items():
            counts[changed] += change
            if change and counts[changed] >= MIN_FREQUENCY:
                heapq.heappush(queue, (-counts[changed], changed))
    return ids


def replace(pair: Pair, piece: int, spelt: list[Spelt], places: dict[Pair, list[int]]) -> Counter[Pair]:
    """Put `piece` for a pair wherever it stands, and return how much more often each pair stands than before."""
    changes: Counter[Pair] = Counter()
    for number in places.pop(pair):
        old, count = spelt[number]
        new = merge(old, pair, piece)
        spelt[number] = new, count
        for gone in pairwise(old):
            changes[gone] -= count
        for made in pairwise(new):
            changes[made] += count
            if piece in made:
                places[made].append(number)
    return changes


def characters(word: str) -> Iterator[str]:
    """Yield a word as pieces of one character."""
    for number, character in enumerate(word):
        yield CONTINUES + character if number else character


def merge(pieces: list[int], pair: Pair, piece: int) -> list[int]:
    """Return the pieces of a word with `piece` in place of each `pair`, from the left."""
    merged: list[int] = []
    for one in pieces:
        if merged and (merged[-1], one) == pair:
            merged[-1] = piece
        else:
            merged.append(one)
    return merged
