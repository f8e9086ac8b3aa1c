"""The peers: other libraries performing the same shapes, each in an environment of its own."""
