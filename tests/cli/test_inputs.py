"""Files that `tacita predict` takes, and those that it does not."""

import sys

import numpy as np
import pytest

from tacita.cli.inputs import arrays_from
from tacita.client.published import Field
from tacita.errors import DataError, ShapeError, UsageError

GREY = Field("image", (2, 1, 4, 6), 1 << 16)
RGB = Field("image", (2, 3, 4, 6), 1 << 16)
ROWS = Field("rows", (2, 3), 1 << 16)


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    return path


def test_an_array(array):
    (found,) = arrays_from([array], [ROWS])
    assert np.array_equal(found, np.arange(6.0).reshape(2, 3))


def test_an_array_for_each_input(array):
    assert len(arrays_from([array, array], [ROWS, ROWS])) == 2
    with pytest.raises(UsageError, match="takes 2 inputs"):
        arrays_from([array], [ROWS, ROWS])


def test_arrays_by_name(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, second=np.ones(2), first=np.zeros(3))
    first, second = (Field(name, (1,), 1) for name in ("first", "second"))
    assert [each.shape for each in arrays_from([path], [first, second])] == [(3,), (2,)]
    with pytest.raises(DataError, match="has the arrays"):
        arrays_from([path], [first, ROWS])
    np.savez(path, whatever=np.ones(2))
    with pytest.raises(DataError, match="has the arrays whatever, and the model takes rows"):
        arrays_from([path], [ROWS])


BAD = {
    "missing": ("gone.npy", None, DataError, "there is no file"),
    "text": ("x.npy", b"1, 2, 3", DataError, "no file of NumPy's arrays"),
    "another kind": ("x.csv", b"1", UsageError, r"give \.npy files"),
    "no image": ("x.png", b"none", DataError, "no image that can be read"),
    "cut": ("x.npz", b"PK\x03\x04", DataError, "no file of NumPy's arrays"),
}


@pytest.mark.parametrize(("name", "content", "kind", "words"), BAD.values(), ids=BAD)
def test_files_that_are_none_of_these(tmp_path, name, content, kind, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=words):
        arrays_from([path], [GREY])


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        arrays_from([path], [ROWS])


class TestImages:
    @pytest.fixture
    def picture(self, tmp_path):
        """picture(mode, size): a file with pixels from 0 to 255."""
        image = pytest.importorskip("PIL.Image")

        def make(mode="L", size=(6, 4), name="x.png"):
            channels = 3 if mode == "RGB" else 1
            pixels = np.linspace(0, 255, size[0] * size[1] * channels).astype(np.uint8)
            shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
            image.fromarray(pixels.reshape(shape), mode).save(tmp_path / name)
            return tmp_path / name, pixels.reshape(shape)

        return make

    def test_grey(self, picture):
        path, pixels = picture()
        (found,) = arrays_from([path, path], [GREY])
        assert found.shape == (2, 1, 4, 6)
        assert np.array_equal(found[1, 0], pixels.astype(np.float32) / 255)

    def test_colours(self, picture):
        path, pixels = picture("RGB")
        (found,) = arrays_from([path], [RGB])
        assert found.shape == (1, 3, 4, 6)
        assert np.array_equal(found[0], pixels.astype(np.float32).transpose(2, 0, 1) / 255)

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparency_is_not_dropped(self, tmp_path, mode):
        path = tmp_path / "x.png"
        pytest.importorskip("PIL.Image").new(mode, (6, 4)).save(path)
        with pytest.raises(DataError, match="transparent"):
            arrays_from([path], [RGB])

    def test_another_size_is_not_made_to_fit(self, picture):
        path, _ = picture(size=(8, 8))
        with pytest.raises(ShapeError, match="8×8 pixels, and the model takes 6×4"):
            arrays_from([path], [GREY])

    def test_a_model_that_takes_no_images(self, picture):
        with pytest.raises(ShapeError, match="no batch of grey or RGB images"):
            arrays_from([picture()[0]], [ROWS])

    def test_without_pillow(self, picture, monkeypatch):
        path, _ = picture()
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(UsageError, match="needs Pillow"):
            arrays_from([path], [GREY])
