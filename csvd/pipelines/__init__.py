"""From images to a Result; each pipeline reads like the paper it implements."""
