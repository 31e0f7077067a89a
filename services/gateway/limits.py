"""The limits on routes that cost much or can be abused, by address and by account; an ordinary client meets none.

By address they are wide, since many people may share one; what is aimed at one account is counted by that account,
from however many addresses it comes.
"""

from services.gateway.rate_limits import Limit, Subject

REGISTER = Limit(name="register", quota=120, window=60, subject=Subject.ADDRESS)
REGISTER_EMAIL = Limit(name="register-email", quota=20, window=3600, subject=Subject.BODY)
VERIFY = Limit(name="verify", quota=300, window=60, subject=Subject.ADDRESS)
LOGIN_ADDRESS = Limit(name="login", quota=120, window=60, subject=Subject.ADDRESS)
LOGIN_NAME = Limit(name="login-name", quota=30, window=60, subject=Subject.BODY)
REFRESH_ADDRESS = Limit(name="refresh-address", quota=1200, window=60, subject=Subject.ADDRESS)
REFRESH = Limit(name="refresh", quota=60, window=60, subject=Subject.BODY)
RESEND_ADDRESS = Limit(name="resend", quota=60, window=3600, subject=Subject.ADDRESS)
RESEND_EMAIL = Limit(name="resend-email", quota=5, window=3600, subject=Subject.BODY)
RESET_ADDRESS = Limit(name="reset", quota=60, window=3600, subject=Subject.ADDRESS)
RESET_EMAIL = Limit(name="reset-email", quota=5, window=3600, subject=Subject.BODY)
RESET_CONFIRM = Limit(name="reset-confirm", quota=60, window=60, subject=Subject.ADDRESS)
CHANGE_PASSWORD = Limit(name="change-password", quota=20, window=60, subject=Subject.ACCOUNT)
SEND_ADDRESS = Limit(name="send-address", quota=2000, window=1, burst=4000, subject=Subject.ADDRESS)
SEND = Limit(name="send", quota=100, window=1, burst=200, subject=Subject.ACCOUNT)
SEARCH_ADDRESS = Limit(name="search-address", quota=1200, window=60, subject=Subject.ADDRESS)
SEARCH = Limit(name="search", quota=120, window=60, subject=Subject.ACCOUNT)
PROFILE_ADDRESS = Limit(name="profile-address", quota=6_000, window=60, subject=Subject.ADDRESS)
LIVE_ADDRESS = Limit(name="live-address", quota=6_000, window=60, subject=Subject.ADDRESS)
OPS = Limit(name="ops", quota=1_200, window=60, subject=Subject.ACCOUNT)
LIVE = Limit(name="live", quota=120, window=60, subject=Subject.ACCOUNT)

ALL = tuple(found for found in globals().values() if isinstance(found, Limit))
