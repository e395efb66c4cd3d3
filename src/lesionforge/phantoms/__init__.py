"""Simulated heads and lesions, for the demo, tests and benchmarks."""
