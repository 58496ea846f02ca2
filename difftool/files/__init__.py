"""Files: reading what may come from strangers, and writing whole or not at all."""
