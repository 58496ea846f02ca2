"""Runs by name: recipes and how they are carried out, evaluations, experiments."""
