"""The benchmarks: what a durable call costs, beside baselines and peers."""
