"""Mending: a team that finds and mends bugs of a small project, in boxes."""
