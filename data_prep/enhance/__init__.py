"""Better pictures of low-resolution clips: what a static camera allows, before the model sees them."""
