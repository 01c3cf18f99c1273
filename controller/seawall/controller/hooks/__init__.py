"""Commands and webhooks that policies call: before and after a run, and when a VM's protection fails or recovers."""
