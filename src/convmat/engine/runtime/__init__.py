"""From IR text to running threads: compile in child processes, cache, load, run."""
