"""VMs that change their hosts: what hosts tell of it, and whether points go with them. See DESIGN.md, "VMs that move"."""
