"""Keys of personal data, which auth alone creates and destroys."""
