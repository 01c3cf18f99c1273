"""Policies: which VMs are backed up when, where to, and what is kept."""
