"""Data sets: built-in digits, two-dimensional points, folders, files, the Hugging Face hub."""
