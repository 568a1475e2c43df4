"""Members from others and for others: imports of Keras files, the published member, packages of members."""
