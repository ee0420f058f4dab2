"""Head plus tail is the whole network, at every legal cut."""

from __future__ import annotations

import numpy as np
import pytest

from partition.images import load_photographs
from partition.runtime import SplitRuntime

CATS = range(281, 286)
"""ImageNet classes: tabby, tiger cat, Persian, Siamese, Egyptian."""


def assert_split_equals_whole(folder, runtime, x):
    whole = runtime.whole(x)
    for cut in folder.cuts:
        tensors = runtime.head(cut, x)
        assert tuple(tensor.shape for tensor in tensors) == cut.shapes
        error = np.abs(runtime.tail(cut, tensors) - whole).max()
        assert error <= 1e-5 * np.abs(whole).max(), cut.name


def test_head_and_tail_equal_the_whole_at_every_cut(tiny, runtime, image):
    assert_split_equals_whole(tiny, runtime, image)


def test_real_network_splits_everywhere_and_knows_a_cat(lite0):
    photographs = load_photographs(None, lite0.preprocess)
    cat = next(photo for photo in photographs if photo.name == "chelsea.png").tensor
    runtime = SplitRuntime(lite0)
    assert_split_equals_whole(lite0, runtime, cat)
    assert int(runtime.whole(cat).argmax()) in CATS


def test_blocks_chain_to_the_whole(tiny, runtime, image):
    tensors = (image,)
    for start, end in zip(tiny.cuts, tiny.cuts[1:], strict=False):
        tensors = runtime.between(start, end, tensors)
    np.testing.assert_allclose(tensors[0], runtime.whole(image), rtol=1e-4, atol=1e-6)


def test_a_side_is_cut_once(tiny, image):
    runtime = SplitRuntime(tiny)
    runtime.head(tiny.cuts[2], image)
    sessions = dict(runtime._sessions)
    runtime.head(tiny.cuts[2], image)
    assert runtime._sessions == sessions


def test_a_wrong_number_of_tensors_is_an_error(tiny, runtime, image):
    with pytest.raises(ValueError, match="zip"):
        runtime.tail(tiny.cuts[2], (image, image))
