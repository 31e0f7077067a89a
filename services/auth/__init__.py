"""Who there is: registration, e-mail verification and login."""
