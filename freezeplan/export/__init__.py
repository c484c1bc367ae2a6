"""A run leaves the house: folders that other libraries load, proved against the run before they are there."""
