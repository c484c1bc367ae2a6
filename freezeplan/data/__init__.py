"""The rows of tasks: files read, labels, images, and what may be wrong with them. Nothing here knows a model."""
