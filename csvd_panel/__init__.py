"""What the panels of all modules share: sections, parameters, the life of a module. It knows Qt."""
