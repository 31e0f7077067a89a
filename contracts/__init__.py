"""Contracts shared by all services: data without behaviour. Imports no other package of the project."""
