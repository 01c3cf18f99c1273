"""The shell around the services: two ports, who may call, how errors leave, how it ends."""
