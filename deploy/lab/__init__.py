"""The laboratory: two hypervisor hosts and a hub on one machine, in namespaces of their own, with a real guest. Used by the demo and system tests."""
