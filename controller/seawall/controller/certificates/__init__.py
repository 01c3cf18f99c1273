"""The controller's own certificate authority: who is the controller, and who is an agent of this cluster."""
