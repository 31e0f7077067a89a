"""Replays a recorded history of messages against a running gateway, for sizing, demonstrations and tests."""
