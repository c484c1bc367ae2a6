"""How the processes of one run share its model: the whole of it each, or a part of every tensor; one file per way."""
