"""The seven services: auth, session, profile, contact and messaging, of one inner shape; operator; the gateway."""
