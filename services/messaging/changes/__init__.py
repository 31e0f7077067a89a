"""What members do to a message after it was sent: edit it, delete it, react to it."""
