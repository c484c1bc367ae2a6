"""The multi-task trainer: executes a plan, proves what stayed frozen, and writes a run's folder.

Importing this package loads neither torch nor transformers; its modules do.
"""
