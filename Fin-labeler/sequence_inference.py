"""Label a few texts: python sequence_inference.py MODEL [TEXT ...] (texts from standard input if none are given)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a fresh clone works without installing

from finbert2 import args
from finbert2.labeler.inputs import read_standard_input
from finbert2.labeler.model import Labeler


@args.command
def main(argv: list[str] | None = None) -> None:
    """Print the label, its probability and the text of each text."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(__doc__, file=sys.stdout if words else sys.stderr)
        sys.exit(0 if words else 2)
    model, texts = words[0], words[1:] or [line.strip() for _, line in read_standard_input() if line.strip()]
    for text, prediction in zip(texts, Labeler.from_pretrained(model).predict(texts), strict=True):
        print(f"{prediction.label}\t{prediction.score:.4f}\t{text}")


if __name__ == "__main__":
    main()
