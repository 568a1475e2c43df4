"""The networks, and readers for weights from other projects."""
