"""The controller's repositories: added by operators, opened when first needed, kept open. All of it blocks: for worker threads."""
