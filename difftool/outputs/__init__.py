"""What is written: files, whole or not at all; samples with their recipe; pictures and plots."""
