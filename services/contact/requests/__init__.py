"""The process of a friend request that no one answers: the addressee is reminded once, and then it is cancelled."""
