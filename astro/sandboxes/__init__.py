"""Sandboxes: where untrusted code runs. There is no local one."""
