"""TOML text to a checked Spec."""
