"""Networks of packages: found where they are installed, with shapes for what is open."""

from __future__ import annotations

import pytest

from partition.errors import ModelNotFoundError
from partition.prepare.build import prepare
from partition.prepare.zoo import PACKAGED, Source, resolve
from tests.partition import onnx_graphs


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_a_network_of_a_package_is_taken_from_where_it_is_installed(tmp_path, monkeypatch, name):
    packaged = PACKAGED[name]
    with pytest.raises(ModelNotFoundError, match=f"--no-deps {packaged.package}=="):
        resolve(name)
    about = tmp_path / f"{packaged.package.replace('-', '_')}-{packaged.version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {packaged.package}\nVersion: {packaged.version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelNotFoundError, match="comes with a package"):  # of another version
        resolve(name)
    file = tmp_path / packaged.file
    file.parent.mkdir(parents=True)
    onnx_graphs.detector_with_nms(file)
    assert (resolve(name).name, resolve(name).load) == (name, file)


def test_what_a_network_of_a_package_leaves_open_has_a_shape(tmp_path):
    path = onnx_graphs.detector_with_nms(tmp_path / "net.onnx")
    source = Source("net", path, shapes={"images": (1, 3, 64, 64)})
    folder = prepare(source, tmp_path / "out")
    assert folder.input_shape == (1, 3, 64, 64)
    other = prepare(source, tmp_path / "other", shapes={"images": (1, 3, 32, 32)})
    assert other.input_shape == (1, 3, 32, 32)
