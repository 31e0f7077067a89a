"""The whole messenger under load, measured from outside: `./just bench messenger`."""
