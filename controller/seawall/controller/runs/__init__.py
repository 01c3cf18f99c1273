"""What becomes of runs and attempts: pure decisions. Facts and an event in, new records out; services and the scheduler store them."""
