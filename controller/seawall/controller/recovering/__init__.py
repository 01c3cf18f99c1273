"""What of the controller comes back when its database is gone: exports into each bucket, and the rebuilding of the catalogue from one."""
