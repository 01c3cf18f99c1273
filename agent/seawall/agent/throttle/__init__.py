"""How fast a disk may be read: the guest's own latency, limits of bandwidth and requests, each behind one port."""
