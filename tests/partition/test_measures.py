"""Measures of fidelity on cases worked out by hand, and the kinds of output that are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from partition.codec.codec import Codec
from partition.profile import boxes
from partition.profile.fidelity import _relative_error, crossed
from partition.profile.kind import detect
from partition.profile.measures import (
    BOXES,
    COSINE,
    IOU,
    MEASURES,
    RELATIVE,
    TEXT,
    TOP1,
    MeasureError,
    of_name,
)

PICTURE = (64, 96)
ANCHORS = 8 * 12 + 4 * 6 + 2 * 3
RNG = np.random.default_rng(0)


def value(measure, whole, received):
    pair = (tuple(map(np.asarray, outputs)) for outputs in (whole, received))
    counts = measure.counts(*pair, PICTURE)
    return measure.value(counts[counts[:, 1] > 0])


def probabilities(*shape):
    scores = np.exp(3 * RNG.normal(size=shape))
    return (scores / scores.sum(axis=-1, keepdims=True)).astype(np.float32)


def yolo(*found, n_classes=3):
    """(1, 4 + classes, anchors) with boxes (x, y, w, h, class, score)."""
    head = np.zeros((1, 4 + n_classes, ANCHORS), np.float32)
    for i, (*centred, label, score) in enumerate(found):
        head[0, :4, i] = centred
        head[0, 4 + label, i] = score
    return head


CAT, DOG = (20, 20, 10, 10, 0, 0.9), (60, 30, 20, 20, 1, 0.6)


class TestTop1:
    def test_only_the_place_of_the_largest_counts(self):
        assert value(TOP1, [[[1.0, 3.0, 2.0]]], [[[0.0, 9.0, 8.9]]]) == 1
        assert value(TOP1, [[[1.0, 3.0, 2.0]]], [[[0.0, 3.0, 3.1]]]) == 0

    def test_rows_count_each(self):
        whole, received = np.eye(4)[None], np.eye(4)[None].copy()
        received[0, 3] = [1, 0, 0, 0]
        assert value(TOP1, [whole], [received]) == 0.75


class TestCosine:
    def test_length_does_not_matter_and_angles_do(self):
        one = np.array([[3.0, 4.0]])
        assert value(COSINE, [one], [5 * one]) == pytest.approx(1)
        assert value(COSINE, [one], [[[4.0, 3.0]]]) == pytest.approx(24 / 25)
        assert value(COSINE, [one], [-one]) == 0

    def test_all_outputs_count_and_whole_numbers_do_not(self):
        zero = np.zeros((1, 2))
        outputs = [np.array([[1.0, 0.0]]), zero, np.array([[7]])]
        assert value(COSINE, outputs, [np.array([[0.0, 1.0]]), zero, np.array([[8]])]) == 0.5

    def test_whole_numbers_alone_are_refused(self):
        with pytest.raises(MeasureError, match="'cosine' needs"):
            value(COSINE, [np.array([[7]])], [np.array([[7]])])


class TestRelative:
    def test_the_output_that_is_worst_off_decides(self):
        good, bad = np.full((1, 4), 2.0), np.full((1, 2), 10.0)
        assert value(RELATIVE, [good, bad], [good * 1.01, bad * 0.9]) == pytest.approx(0.9)
        assert value(RELATIVE, [good, bad], [good * 9, bad]) == 0

    def test_a_state_after_an_equal_probability_counts(self):
        """One probability and a state: by argmax both would be all right."""
        assert value(RELATIVE, [[[0.5]], np.ones((2, 1, 8))], [[[0.5]], np.zeros((2, 1, 8))]) == 0

    def test_equal_infinities_and_nan_are_no_error(self):
        whole = np.array([[np.nan, -np.inf, 3.0, 4.0]])
        assert value(RELATIVE, [whole], [whole.copy()]) == 1
        assert value(RELATIVE, [whole], [np.nan_to_num(whole)]) == 0

    def test_whole_numbers_are_right_or_wrong(self):
        whole = np.arange(4)[None]
        received = np.array([[0, 1, 2, 50]])
        assert value(RELATIVE, [whole], [received]) == 0.5


class TestBoxes:
    def test_all_found_again_is_one(self):
        head = yolo(CAT, DOG)
        assert value(BOXES, [head], [head]) == 1

    def test_a_lost_box_costs_what_f1_says(self):
        assert value(BOXES, [yolo(CAT, DOG)], [yolo(CAT)]) == pytest.approx(2 / 3)

    @pytest.mark.parametrize(
        ("seen", "f1"),
        [
            ((23, 20, 10, 10, 0, 0.9), 1.0),  # IoU 7 / 13
            ((24, 20, 10, 10, 0, 0.9), 0.0),  # IoU 6 / 14
            ((20, 20, 10, 10, 1, 0.9), 0.0),  # of another class
            ((20, 20, 10, 10, 0, 0.2), 0.0),  # not confident any more
        ],
    )
    def test_a_box_is_the_same_where_place_class_and_confidence_are(self, seen, f1):
        assert value(BOXES, [yolo(CAT)], [yolo(seen)]) == f1

    def test_many_boxes_of_one_object_are_one(self):
        near = (21, 20, 10, 10, 0, 0.8)
        assert len(boxes.find((yolo(CAT, near, DOG),), PICTURE).classes) == 2
        assert value(BOXES, [yolo(CAT, near)], [yolo(near)]) == 1

    def test_one_box_is_not_matched_twice(self):
        apart = [(20, 20, 10, 10, 0, 0.9), (24, 20, 10, 10, 0, 0.8)]  # IoU below a half
        between = (22, 20, 10, 10, 0, 0.9)
        assert value(BOXES, [yolo(*apart)], [yolo(between)]) == pytest.approx(2 / 3)

    def test_layouts_say_the_same(self):
        """Raw heads of two generations, a list, boxes beside scores, boxes beside labels."""
        corners = np.array([[[15, 15, 25, 25], [50, 20, 70, 40], [0, 0, 0, 0]]], np.float32)
        old = np.zeros((1, 3 * ANCHORS, 8), np.float32)
        old[0, 0] = (20, 20, 10, 10, 0.9, 1, 0, 0)
        old[0, 1] = (60, 30, 20, 20, 0.6, 0, 1, 0)
        numbers = np.array([[[0.9, 0], [0.6, 1], [0, 0]]], np.float32)
        scores = np.array([[[0.9, 0.1], [0.1, 0.6], [0, 0]]], np.float32)
        masks = np.concatenate([yolo(CAT, DOG), RNG.normal(size=(1, 4, ANCHORS))], axis=1)
        layouts = [
            (yolo(CAT, DOG),),
            (masks.astype(np.float32), np.zeros((1, 4, 16, 24), np.float32)),
            (old,),
            (np.concatenate([corners, numbers], axis=2),),
            (scores, corners),
            (corners, numbers[..., 0], numbers[..., 1].astype(np.int64)),
            (corners[0], numbers[0, :, 1].astype(np.int64), numbers[0, :, 0]),
            (np.array([3.0], np.float32), corners, numbers[..., 1], numbers[..., 0]),
        ]
        for outputs in layouts:
            found = boxes.find(outputs, PICTURE)
            assert found.classes.tolist() == [0, 1]
            np.testing.assert_allclose(found.corners, corners[0, :2])

    def test_the_background_is_no_object(self):
        scores = np.full((1, 50, 2), (0.99, 0.01), np.float32)
        scores[0, 7] = 0.05, 0.95
        corners = np.tile(np.array([0, 0, 9, 9], np.float32), (1, 50, 1))
        assert boxes.find((scores, corners), PICTURE).classes.tolist() == [1]

    def test_lists_are_as_long_as_there_are_boxes(self):
        """As a network gives them that suppresses overlapping boxes itself."""
        rows = np.array([[15, 15, 25, 25, 0.9, 0], [50, 20, 70, 40, 0.6, 1]], np.float32)
        assert value(BOXES, [rows], [rows[:1]]) == pytest.approx(2 / 3)
        assert value(BOXES, [rows], [rows[:0]]) == 0
        apart = rows[:1, :4], rows[:1, 4], rows[:1, 5].astype(np.int64)
        assert boxes.find(apart, PICTURE).classes.tolist() == [0]

    def test_numbers_that_are_no_probabilities_are_no_boxes(self):
        head = yolo(CAT)
        head[0, 5, 3] = 17.0  # a key point, in pixels
        assert boxes.find((head,), PICTURE) is None
        assert boxes.find((np.ones((1, 10), np.float32),), PICTURE) is None
        with pytest.raises(MeasureError, match="'boxes' finds none"):
            value(BOXES, [np.ones((1, 10))], [np.ones((1, 10))])
        assert value(BOXES, [yolo(CAT)], [head]) == 0


class TestIou:
    def test_regions_of_classes_are_averaged(self):
        scores = np.zeros((1, 3, 2, 4), np.float32)
        scores[0, 0, 0], scores[0, 1, 1] = 1, 1  # upper row class 0, lower row class 1
        moved = scores.copy()
        moved[0, 1, 0, 0] = 2  # one pixel of the upper row goes to class 1
        assert value(IOU, [scores], [moved]) == pytest.approx((3 / 4 + 4 / 5) / 2)
        assert value(IOU, [scores.argmax(axis=1)], [moved.argmax(axis=1)]) == pytest.approx(0.775)

    def test_of_one_class_the_foreground_counts(self):
        text = np.zeros((1, 1, 10, 10), np.float32)
        text[0, 0, 4, :4] = 0.9
        seen = text.copy()
        seen[0, 0, 4, 3] = 0.4
        assert value(IOU, [text], [seen]) == 0.75
        seen[0, 0, 4, 0] = 1.0000001  # as rounding leaves it
        assert value(IOU, [text], [seen]) == 0.75
        assert value(IOU, [text - 0.5], [seen - 0.5]) == 0.75  # raw scores
        with pytest.raises(MeasureError, match="'iou' needs"):
            value(IOU, [np.ones((1, 10))], [np.ones((1, 10))])

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
    def test_classes_may_be_whole_numbers_of_any_type(self, dtype):
        classes = (np.arange(16).reshape(1, 4, 4) % 2).astype(dtype)
        moved = classes.copy()
        moved[0, 0, 0] = 1
        assert value(IOU, [classes], [classes]) == 1
        assert value(IOU, [classes], [moved]) == pytest.approx((7 / 8 + 8 / 9) / 2)


class TestText:
    @staticmethod
    def path(symbols, n=5):
        return np.eye(n, dtype=np.float32)[list(symbols)][None]

    def test_repeats_and_blanks_are_dropped(self):
        whole, slower = self.path((0, 1, 1, 0, 2, 0)), self.path((0, 1, 0, 2, 2, 2))
        assert value(TEXT, [whole], [slower]) == 1
        assert value(TEXT, [whole.swapaxes(0, 1)], [slower.swapaxes(0, 1)]) == 1

    def test_edits_are_counted_over_the_longer_text(self):
        whole = self.path((0, 1, 2, 3, 0, 4))
        assert value(TEXT, [whole], [self.path((0, 1, 2, 0, 0, 4))]) == 0.75  # one lost
        assert value(TEXT, [whole], [self.path((0, 1, 2, 1, 0, 4))]) == 0.75  # one wrong

    def test_the_blank_may_be_the_last_class(self):
        assert value(TEXT, [self.path((4, 0, 4, 4, 0, 4))], [self.path((4, 0, 4, 0, 4, 4))]) == 1

    def test_other_shapes_are_refused(self):
        with pytest.raises(MeasureError, match=r"'text' needs .* shape \(1, 10\)"):
            value(TEXT, [np.ones((1, 10))], [np.ones((1, 10))])


@pytest.mark.parametrize("measure", [RELATIVE, TOP1, COSINE])
def test_of_an_output_of_another_length_nothing_is_left(measure):
    whole = np.ones((1, 4, 3))
    assert value(measure, [whole], [whole]) == 1
    assert value(measure, [whole], [whole[:, :2]]) == 0


N = 20


@pytest.mark.parametrize(
    ("make", "picture", "measure"),
    [
        (lambda: (probabilities(1, 10),), None, TOP1),
        (lambda: (np.array([[0.8, 0.2]]) + RNG.random() * np.array([0.1, -0.1]),), None, RELATIVE),
        (lambda: (RNG.normal(size=(1, 1000)),), PICTURE, TOP1),
        (lambda: (RNG.normal(size=(1, 1000)),), None, RELATIVE),
        (lambda: (RNG.normal(size=(1, 512)),), PICTURE, RELATIVE),  # classes or features
        (lambda: (np.sort(RNG.normal(size=(1, 136))),), PICTURE, RELATIVE),  # always one place
        (lambda: (np.ones((1, 128)) / np.sqrt(128),), PICTURE, COSINE),
        (lambda: (RNG.random((1, 1)),), None, RELATIVE),
        (lambda: (RNG.random((1, 1)), RNG.normal(size=(2, 1, 8))), None, RELATIVE),
        (lambda: (yolo(CAT, DOG),), PICTURE, BOXES),
        (lambda: (yolo(CAT, DOG),), None, RELATIVE),
        (lambda: (RNG.normal(size=(1, 7, ANCHORS)).astype(np.float32),), PICTURE, RELATIVE),
        (lambda: (RNG.random((1, 4)), probabilities(1, 2)), PICTURE, RELATIVE),  # of one crop
        (lambda: (-np.ones((1, 50, 4)), probabilities(1, 50, 3)), PICTURE, RELATIVE),  # no area
        (lambda: (probabilities(1, 40, 97),), PICTURE, TEXT),
        (lambda: (RNG.normal(size=(25, 1, 8210)),), PICTURE, TEXT),
        (lambda: (RNG.normal(size=(1, 50, 768)),), PICTURE, RELATIVE),  # features of patches
        (lambda: (RNG.normal(size=(1, 21, *PICTURE)),), PICTURE, IOU),
        (lambda: (RNG.normal(size=(1, 3, *PICTURE)),), PICTURE, RELATIVE),  # a picture
        (lambda: (RNG.random((1, 1, *PICTURE)),), PICTURE, RELATIVE),  # a depth
        (lambda: (np.rint(RNG.random((1, 1, *PICTURE))),), PICTURE, IOU),
        (lambda: (RNG.integers(0, 9, (1, *PICTURE)),), PICTURE, IOU),
        (lambda: (RNG.normal(size=(1, 256, 8, 12)),), PICTURE, RELATIVE),
    ],
)
def test_the_kind_is_told_where_it_is_certain(make, picture, measure):
    kind = detect([make() for _ in range(N)], picture)
    assert kind.measure is measure, kind.why


@pytest.mark.parametrize("measure", MEASURES, ids=lambda each: each.name)
def test_a_measure_has_a_name(measure):
    assert of_name(measure.name) is measure


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(MeasureError, match="no measure 'auc': choose from top-1, boxes"):
        of_name("auc")


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float16", 1e-4), ("float16", 1.0), ("float16", 2e4), ("float32", 1e-30), ("float32", 1e30)],
)
def test_the_error_of_the_codec_does_not_depend_on_the_unit(dtype, scale):
    rng = np.random.default_rng(0)
    sent = (scale * rng.uniform(-1, 1, (1, 8, 40))).astype(dtype)
    (received,) = crossed(Codec(4), (sent,))
    assert received.dtype == dtype
    assert 0.02 < _relative_error(received, sent) < 0.1


def test_what_has_no_levels_crosses_as_it_is():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1, 4, 40)).astype(np.float32)
    mask, tokens = np.full((1, 1, 40), -np.inf, np.float32), np.arange(40)[None]
    seen = crossed(Codec(4), (scores, mask, tokens))
    assert seen[1] is mask
    assert seen[2] is tokens
    assert 0 < np.abs(seen[0] - scores).max() < 0.5
