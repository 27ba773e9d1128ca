"""``python -m finbert2.samples``: write the sample files anew."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from finbert2.samples.files import write_samples

ROOT = Path(__file__).resolve().parents[3]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the sample files below a folder: of a clone its root, else where you are, unless told otherwise."""
    parser = argparse.ArgumentParser(prog="python -m finbert2.samples", description=main.__doc__)
    parser.add_argument("--output_dir", type=Path, default=ROOT if (ROOT / "quickstart.sh").exists() else Path(),
                        help="the folder to write below")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="the files are a pure function of it")
    args = parser.parse_args(argv)
    write_samples(args.output_dir, args.seed)


if __name__ == "__main__":
    main()
