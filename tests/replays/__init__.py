"""Journals of every release, kept as files, and whether today's engine still goes on with them."""
