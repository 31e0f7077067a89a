"""What the gateway keeps so that services are not asked again."""
