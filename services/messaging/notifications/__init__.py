"""What people are told of: listed, marked as read, and caught up with by who was away."""
