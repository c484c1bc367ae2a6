"""Layer decay: learning rates that fall with depth, after the published formulas."""
