"""Classifiers of texts and taggers of entities."""
