"""The limits on routes that cost much or can be abused; an ordinary client never meets them."""

from services.gateway.rate_limits import Limit, Subject

REGISTER = Limit(name="register", quota=120, window=60, subject=Subject.ADDRESS)
LOGIN_ADDRESS = Limit(name="login", quota=120, window=60, subject=Subject.ADDRESS)
LOGIN_NAME = Limit(name="login-name", quota=30, window=60, subject=Subject.BODY)
REFRESH = Limit(name="refresh", quota=60, window=60, subject=Subject.BODY)
RESEND_ADDRESS = Limit(name="resend", quota=60, window=3600, subject=Subject.ADDRESS)
RESEND_EMAIL = Limit(name="resend-email", quota=5, window=3600, subject=Subject.BODY)
SEND = Limit(name="send", quota=100, window=1, burst=200, subject=Subject.ACCOUNT)
SEARCH = Limit(name="search", quota=120, window=60, subject=Subject.ACCOUNT)
