"""A plan as a guest in the trainers of other libraries."""
