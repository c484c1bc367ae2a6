"""Choosing what to freeze by measuring: a linear probe of every layer, and ways of freezing compared."""
