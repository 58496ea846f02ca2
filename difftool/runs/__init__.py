"""Runs described by names: recipes and their execution, evaluations, experiments."""
