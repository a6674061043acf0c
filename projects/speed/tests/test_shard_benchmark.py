"""The benchmark reads the same images in every layout."""

from types import SimpleNamespace

import pytest
from data_toys import toy_content, write_set
from speed import shard_benchmark


def test_each_layout_is_read(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    path, folder = write_set(str(tmp_path), toy_content(5))
    read = []
    read_image = shard_benchmark.read_image
    monkeypatch.setattr(shard_benchmark, "read_image", lambda name: read.append(read_image(name).tobytes()))
    arguments = dict(annotations=path, images=folder, number=4, rounds=2, shard_mb=1, output=str(tmp_path / "out"))
    shard_benchmark.run(SimpleNamespace(**arguments))
    table = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split("|")[1].strip() for line in table] == ["folder", "tar", "parquet"]
    assert table[0].rstrip(" |").endswith("1.00")
    assert len(read) == 24 and read[:4] == read[4:8] == read[8:12]
