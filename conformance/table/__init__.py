"""YAML rows and the cases they become, every fault with its place, and the rule."""
