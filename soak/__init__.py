"""The soak: what takes an hour or two, before a release.

    python -m soak                         everything
    python -m soak killing draining        some parts
    python -m soak killing --share 0.02    a fiftieth of it

Each part prints its figures and fails if anything was lost, repeated or wrong.
"""
