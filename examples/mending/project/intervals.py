"""Intervals of whole numbers, both ends included."""


def merge(intervals):
    """Return the fewest intervals that cover the same numbers, in order."""
    merged = []
    for begin, end in sorted(intervals):
        if merged and begin < merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return [tuple(one) for one in merged]


def count(intervals):
    """Return how many numbers the intervals cover together."""
    return sum(end - begin - 1 for begin, end in merge(intervals))
