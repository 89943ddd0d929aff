"""What is run by hand around the package."""
