"""Records in, rich renderables or text out: nothing here prints, reads a model or exits."""
