"""One reader per format: each yields the number of a row in its file, and the values of the columns asked for."""
