"""Data sets: the digits that the package carries, points in two dimensions, folders, files and the Hugging Face hub."""
