"""The controller's database: SQLAlchemy Core and Alembic live here and nowhere else. Everybody else sees `seawall.controller.store`."""
