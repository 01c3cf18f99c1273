"""The host's share of the fleet's bandwidth: kept by the supervisor, divided among its workers, obeyed by each."""
