"""Rebuilds a read model beside the live one, cuts over, drops old builds."""
