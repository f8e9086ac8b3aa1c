"""How much chance the tests of values and decisions use."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: time is measured in benchmarks, not here.
settings.register_profile("astro", deadline=None, max_examples=60)
settings.load_profile("astro")
