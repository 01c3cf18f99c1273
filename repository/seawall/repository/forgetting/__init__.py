"""How a committed point leaves the bucket, and how readers know that it did. Used by the controller and by rescue."""
