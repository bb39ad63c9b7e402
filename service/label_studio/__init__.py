"""Label Studio: its protocol for backends, and its own API."""
