"""What clients are told live besides the events of the streams: a user's notifications.

One is recorded for every event that a user is told of (projections/notifications.py); its id follows from the event,
so that whoever reads the stream can tell of it without asking.
"""

NOTIFICATION_CREATED = "notification.created"
NOTIFICATION_READ = "notification.read"

FRIEND_REQUEST = "friend_request"
FRIEND_ACCEPTED = "friend_accepted"
MESSAGE = "message"

# How far a client was told of notifications born of CONTACT and of MESSAGING: places of their own in a position,
# since an event and the notification it makes reach a client one after the other.
NOTIFIED_CONTACT = "CONTACT notifications"
NOTIFIED_MESSAGING = "MESSAGING notifications"
