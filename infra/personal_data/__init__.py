"""Keys of personal data: the client of auth that has them created, their overview and their backup."""
