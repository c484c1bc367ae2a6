"""The forms that a run can be written in, by the names that ``--to`` takes."""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.export.form import ExportForm
from freezeplan.export.onnx_form import Onnx
from freezeplan.export.sentence import SentenceEncoder
from freezeplan.export.stock import Stock

FORMS: Mapping[str, ExportForm] = {form.name: form for form in (Stock(), SentenceEncoder(), Onnx())}
