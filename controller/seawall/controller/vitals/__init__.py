"""How the controller itself is: its database, its event loop, its clock. What is wrong is shown in `status` and in the health service."""
