"""Fin-retriever: hard negatives, contrastive training, evaluation, index and search."""
