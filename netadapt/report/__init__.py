"""What a run leaves behind for people: tables of steps and layers, figures, a page, a summary."""
