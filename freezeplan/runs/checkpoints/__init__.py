"""Checkpoints: all that a run needs to go on, bit for bit, in folders that are whole or do not exist."""
