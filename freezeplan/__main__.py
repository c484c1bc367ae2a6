"""Let ``python -m freezeplan`` do what the command does."""

from __future__ import annotations

from freezeplan.cli import main

if __name__ == "__main__":
    main()
