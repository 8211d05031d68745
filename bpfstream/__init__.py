"""Load eBPF objects and stream their typed events."""
