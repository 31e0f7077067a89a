"""`vestnik dead-letters`: events that a projection could not apply, or a reaction has parked."""
