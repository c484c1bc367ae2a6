"""A run leaves the house: folders that other libraries load, proved against the run before they are there."""

FORM_NAMES = ("transformers", "sentence-transformers", "onnx")
"""The libraries that a run can be written for, as ``--to`` takes them: the keys of ``forms.FORMS``."""
