"""The page on saving: its blocks run, in order, in an empty folder."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "saving.md"
pytest.importorskip("skops")
pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")


def test_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"wages.ann", "wages.onnx"}
