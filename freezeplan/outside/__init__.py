"""Talking to foreign libraries: quiet ones, the hub's cache, installed packages. Nothing here knows a spec."""
