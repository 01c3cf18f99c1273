"""Who may start, and how fast: limits, order, fairness, circuit breakers, shares of bandwidth. Decisions are pure."""
