"""The store without a file: for tests, notebooks, and runs that need not outlive the process."""

from astro.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
