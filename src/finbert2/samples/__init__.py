"""Seeded generator of the sample data that the repository ships: all companies, people and figures are invented."""
