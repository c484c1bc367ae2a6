"""From a model to plain records: parameters, modules, ties, stacks and roles.

Importing this package loads neither torch nor transformers.
"""
