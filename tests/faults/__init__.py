"""Power that fails, processes that are killed at any write, writes that do not succeed."""
