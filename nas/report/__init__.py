"""What a run leaves behind for people: a table of trials, a Pareto figure, a page, a summary."""
