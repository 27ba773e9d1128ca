"""Masked language modelling and RetroMAE on packed, whole-word-masked Chinese text."""
