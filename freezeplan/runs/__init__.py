"""A run on disk: its folder, checkpoints, ledger, evidence and log, and what re-checks them."""
