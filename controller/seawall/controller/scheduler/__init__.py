"""Leader's work: what starts where, what is overdue, and who is told."""
