"""The networks, and weights from elsewhere for them."""
