"""Names: the registry, specs (`name:key=value`) and the names of other tools."""
