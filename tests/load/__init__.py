"""Many runs at once: nothing is lost, nothing grows, and nobody holds the event loop up."""
