"""A page to look at: what runs, comparisons and probes left on disk, as one record and as HTML drawn from it."""
