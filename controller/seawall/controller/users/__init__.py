"""Users: what an order makes of one. Pure; services/user_service.py carries it out."""
