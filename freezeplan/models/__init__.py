"""Where a model comes from: hub, folder, package, config or a finished run; built on the meta device or loaded.

Importing this package loads neither torch nor transformers.
"""
