from intervals import count, merge


def test_nothing_covers_nothing():
    assert merge([]) == []
    assert count([]) == 0


def test_intervals_that_overlap_are_one():
    assert merge([(1, 5), (3, 9)]) == [(1, 9)]


def test_intervals_that_touch_are_one():
    assert merge([(1, 2), (3, 4)]) == [(1, 4)]


def test_intervals_apart_stay_apart():
    assert merge([(5, 6), (1, 2)]) == [(1, 2), (5, 6)]


def test_both_ends_are_covered():
    assert count([(1, 3)]) == 3
    assert count([(1, 3), (2, 5), (9, 9)]) == 6
