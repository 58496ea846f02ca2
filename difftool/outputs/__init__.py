"""Output: samples with their recipe, pictures and plots."""
