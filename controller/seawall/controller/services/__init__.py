"""The gRPC edge. Generated types stop here: `convert_*` turns them into records and back; errors leave as ControllerError."""
