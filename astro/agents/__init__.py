"""Agents: whoever performs tasks."""
