"""Running a graph: the plan, the items on their way, calls and batches, failures, observers."""
