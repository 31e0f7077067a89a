"""The eight services: auth, session, profile, contact and messaging, of one inner shape; operator; notary; gateway."""
