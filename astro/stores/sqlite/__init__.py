"""The store in one SQLite file.

`store` is the door; `verbs` says what the `writer` does in groups with `statements` over the
`schema`; `readers` read; `session` opens and closes them under the lock of `locking`.
"""

from astro.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
