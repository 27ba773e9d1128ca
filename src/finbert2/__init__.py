"""FinBERT2: make, tune and use a Chinese financial text encoder of BERT size."""

__version__ = "0.1.0"
