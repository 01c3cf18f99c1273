"""What is decided about how a VM is captured: by whom, within which bounds, and in which words it is told."""
