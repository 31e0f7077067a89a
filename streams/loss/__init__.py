"""Lost events: detected, recorded, accepted."""
