"""Reviews: queues, claims, decisions and what follows from them."""
