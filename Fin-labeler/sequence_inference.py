"""Label a few texts: python sequence_inference.py MODEL [TEXT ...] (texts from standard input if none are given)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a fresh clone works without installing

from finbert2.errors import UserError
from finbert2.labeler.model import Labeler


def main() -> None:
    """Print the label, its probability and the text of each text."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    model, texts = sys.argv[1], sys.argv[2:] or [line.strip() for line in sys.stdin if line.strip()]
    try:
        predictions = Labeler.from_pretrained(model).predict(texts)
    except UserError as error:
        sys.exit(f"error: {error}")
    for text, prediction in zip(texts, predictions, strict=True):
        print(f"{prediction.label}\t{prediction.score:.4f}\t{text}")


if __name__ == "__main__":
    main()
