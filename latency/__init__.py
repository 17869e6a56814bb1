"""What a network costs on a device: plans, the profiler that runs them there, and its tables."""
