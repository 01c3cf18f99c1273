"""The laboratory: a hub, two hypervisor hosts and a real guest in namespaces of one machine. Used by the demo and by system tests."""
