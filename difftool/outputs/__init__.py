"""Output: files written atomically, samples with their recipe, pictures and plots."""
