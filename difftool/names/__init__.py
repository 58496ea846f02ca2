"""Names: what is registered on each axis, `name:key=value` as objects, the names of other tools."""
