"""Exports: what other libraries load of a run."""
