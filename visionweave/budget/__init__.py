"""What a run needs of the machine: memory, time; and runs in stages that need less of it."""
